import Dispatch
import Glibc
import Synchronization

/// Runs a command of the operator's: JSON on standard input, a minimal environment, a bounded time.
///
/// The command leads a process group; when it ends or its time is up, all that is left of the group is killed. Its standard
/// error is samd's own, which is the journal.
package struct CommandRunner: Sendable {
    /// How a command ended.
    package enum End: Sendable, Equatable {
        case ended(ChildProcess.End)
        case notStarted(reason: String)
        /// It ran into the limit, or was not wanted any more, and was killed.
        case killed
    }

    package static let environment = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
    ]

    package let limit: Duration

    package init(limit: Duration = .seconds(30)) { self.limit = limit }

    /// Runs a command to its end, until the limit or until this task is cancelled.
    package func run(_ command: [String], input: [UInt8]) async -> End {
        let process: ChildProcess
        do {
            process = try Self.start(command, input: input)
        } catch {
            return .notStarted(reason: error.reason)
        }
        let watch = Watch(process: process)
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                watch.begin(continuation)
                let nanoseconds = Int(limit / .nanoseconds(1))
                let queue = DispatchQueue.global()
                queue.asyncAfter(deadline: .now() + .nanoseconds(nanoseconds)) { watch.kill() }
                queue.async { watch.wait() }
            }
        } onCancel: {
            watch.kill()
        }
    }

    private static func start(_ command: [String], input: [UInt8]) throws(ChildProcess.Failure)
        -> ChildProcess
    {
        // A file in memory: nobody waits for anybody, however little the command reads.
        let memory = memfd_create("samd-notification", UInt32(MFD_CLOEXEC))
        let null = open("/dev/null", O_WRONLY | O_CLOEXEC)
        defer {
            if memory >= 0 { close(memory) }
            if null >= 0 { close(null) }
        }
        guard memory >= 0, null >= 0, pwrite(memory, input, input.count, 0) == input.count else {
            throw ChildProcess.Failure(command: command.first ?? "", code: errno)
        }
        var options = ChildProcess.Options()
        options.environment = environment
        options.ownGroup = true
        options.closesOthers = true
        (options.input, options.output) = (memory, null)
        return try ChildProcess(command, options)
    }

    /// Who waits for one process, who kills it, and which of them was first.
    private final class Watch: Sendable {
        private struct State {
            var continuation: CheckedContinuation<End, Never>?
            var isOver = false
            var isKilled = false
        }
        private let process: ChildProcess
        private let state = Mutex(State())

        init(process: ChildProcess) { self.process = process }

        func begin(_ continuation: CheckedContinuation<End, Never>) {
            let wasKilled = state.withLock { state in
                if !state.isKilled { state.continuation = continuation }
                return state.isKilled
            }
            if wasKilled { continuation.resume(returning: .killed) }
        }

        /// Answers at once: a process that hangs in the kernel dies when it can.
        func kill() {
            let continuation = state.withLock { state in
                guard !state.isOver else { return CheckedContinuation<End, Never>?.none }
                state.isKilled = true
                Glibc.kill(-process.pid, SIGKILL)
                return state.continuation.take()
            }
            continuation?.resume(returning: .killed)
        }

        /// Blocks until the process is gone.
        func wait() {
            let end = process.wait {
                state.withLock { state in
                    state.isOver = true
                    Glibc.kill(-process.pid, SIGKILL)
                }
            }
            let continuation = state.withLock { $0.continuation.take() }
            continuation?.resume(returning: .ended(end))
        }
    }
}
