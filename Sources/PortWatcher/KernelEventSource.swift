import Glibc
import ProcFS
import Synchronization

/// Tells when something begins or ceases to listen, in any network namespace of the machine, about 0.03 ms
/// after the fact. A wake-up, not a truth: what changed must be looked up.
///
/// One thread of its own waits in poll(2) for the instance's `trace_pipe` and for `close()`.
package final class KernelEventSource: Sendable {
    /// One element for any number of events; finishes when the source is closed or lost. For one consumer.
    package let events: AsyncStream<Void>

    private let continuation: AsyncStream<Void>.Continuation
    private let instance: TraceInstance
    private let tracePipe: Int32
    private let stopPipe: (reading: Int32, writing: Int32)
    private let state = Mutex(State())

    private struct State {
        var thread: pthread_t?
        var loss: KernelEventError?
    }

    /// After waking, the thread ignores further events for this long: the scan that follows them is spaced
    /// anyway.
    private static let pauseMilliseconds: Int32 = 5
    /// How often the thread makes sure that nobody disabled the event.
    private static let checkMilliseconds: Int32 = 15_000
    /// The most that is read in one round; poll(2) wakes again for the rest.
    private static let drainedReads = 64

    /// Sets up the tracefs instance `name` below `root` and starts to listen. Blocks for milliseconds.
    package static func open(tracefs root: String, instance name: String) throws(KernelEventError)
        -> KernelEventSource
    {
        let instance = TraceInstance(root: root, name: name)
        let tracePipe = try instance.open()
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC | O_NONBLOCK) == 0 else {
            let error = Errno.current
            Glibc.close(tracePipe)
            instance.remove()
            throw KernelEventError("make a pipe for", "\(root)/instances/\(name)", error)
        }
        let source = KernelEventSource(
            instance: instance, tracePipe: tracePipe, stopPipe: (reading: ends[0], writing: ends[1]))
        try source.start(path: "\(root)/instances/\(name)/trace_pipe")
        return source
    }

    private init(instance: TraceInstance, tracePipe: Int32, stopPipe: (reading: Int32, writing: Int32)) {
        (events, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        self.instance = instance
        self.tracePipe = tracePipe
        self.stopPipe = stopPipe
    }

    /// Why `events` finished although nobody closed the source; `nil` while it works.
    package var loss: KernelEventError? { state.withLock { $0.loss } }

    /// Ends the thread and removes the instance; must be called once for each source, later calls do nothing.
    /// Blocks for about 60 ms, the kernel's time to remove an instance.
    package func close() {
        guard let thread = state.withLock({ $0.thread.take() }) else { return }
        var byte: UInt8 = 0
        write(stopPipe.writing, &byte, 1)
        pthread_join(thread, nil)
        continuation.finish()
        Glibc.close(tracePipe)
        Glibc.close(stopPipe.reading)
        Glibc.close(stopPipe.writing)
        instance.remove()
    }

    private func start(path: String) throws(KernelEventError) {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self)
        let code = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<KernelEventSource>.fromOpaque(context).takeRetainedValue().watch()
                return nil
            }, context.toOpaque())
        guard code == 0 else {
            context.release()
            Glibc.close(tracePipe)
            Glibc.close(stopPipe.reading)
            Glibc.close(stopPipe.writing)
            instance.remove()
            throw KernelEventError("start a thread for", path, Errno(rawValue: code))
        }
        state.withLock { $0.thread = thread }
    }

    private func watch() {
        pthread_setname_np(pthread_self(), "samd-events")
        // Signals are for the daemon's own handling.
        var signals = sigset_t()
        sigfillset(&signals)
        pthread_sigmask(SIG_SETMASK, &signals, nil)
        do throws(KernelEventError) {
            while try !waitIsOver(for: tracePipe, milliseconds: Self.checkMilliseconds) {
                if drain() { continuation.yield() } else { try instance.enable() }
                if try waitIsOver(for: -1, milliseconds: Self.pauseMilliseconds) { break }
            }
        } catch {
            state.withLock { $0.loss = error }
        }
        continuation.finish()
    }

    /// Waits until the descriptor is readable or the time has passed; true once the source is being closed.
    private func waitIsOver(for descriptor: Int32, milliseconds: Int32) throws(KernelEventError) -> Bool {
        // poll(2) ignores negative descriptors.
        var waits = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stopPipe.reading, events: Int16(POLLIN), revents: 0),
        ]
        guard poll(&waits, nfds_t(waits.count), milliseconds) >= 0 else {
            let error = Errno.current
            if error.rawValue == EINTR { return false }
            throw KernelEventError("wait for", "trace_pipe", error)
        }
        let failures = Int16(POLLERR | POLLHUP | POLLNVAL)
        guard waits[0].revents & failures == 0 else {
            throw KernelEventError("wait for", "trace_pipe", Errno(rawValue: EIO))
        }
        return waits[1].revents != 0
    }

    /// Reads what is there and throws it away; whether there was anything.
    private func drain() -> Bool {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { memory in
            var reads = 0
            while reads < Self.drainedReads, read(tracePipe, memory.baseAddress, memory.count) > 0 {
                reads += 1
            }
            return reads > 0
        }
    }
}
