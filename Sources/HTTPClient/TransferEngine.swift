internal import CCurl
internal import CurlShims
internal import Glibc
internal import Synchronization

/// The line between tasks and the one thread that owns libcurl's handles.
///
/// Tasks post commands; the thread (`EngineLoop`) takes them. It starts with the first command.
final class TransferEngine: Sendable {
    enum Command: Sendable {
        case start(Transfer)
        case cancel(UInt64)
        case resumeReceiving(UInt64)
        case resumeSending(UInt64)
    }

    /// Bounded by the number of transfers: each has at most one command of a kind under way.
    private let inbox = Mutex(Inbox())

    private struct Inbox {
        var commands: [Command] = []
        /// Present while the thread runs; used for waking it only under the mutex, and cleared before it is freed.
        var multi: CurlMulti?
        var isClosed = false
    }

    /// A `CURLM *`.
    ///
    /// Sendable because other threads only ever pass it to `curl_multi_wakeup`, which is made for that, while the
    /// inbox's mutex keeps it alive.
    struct CurlMulti: @unchecked Sendable {
        let pointer: UnsafeMutableRawPointer
    }

    private static let isLibraryReady: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    /// Hands the thread a command; false when the engine is closed or cannot start.
    @discardableResult
    func post(_ command: Command) -> Bool {
        inbox.withLock { inbox in
            if inbox.isClosed { return false }
            if inbox.multi == nil {
                guard case .start = command, let multi = startThread() else { return false }
                inbox.multi = multi
            }
            inbox.commands.append(command)
            if let multi = inbox.multi { curl_multi_wakeup(multi.pointer) }
            return true
        }
    }

    /// Asks the thread to end all transfers and itself.
    func close() {
        inbox.withLock { inbox in
            inbox.isClosed = true
            if let multi = inbox.multi { curl_multi_wakeup(multi.pointer) }
        }
    }

    /// The commands posted since the last call, nil once closed. Called on the thread.
    func takeCommands() -> [Command]? {
        inbox.withLock { inbox in
            if inbox.isClosed { return nil }
            var taken: [Command] = []
            swap(&taken, &inbox.commands)
            return taken
        }
    }

    /// What was posted and never taken. Called on the thread, last: afterwards nobody wakes it.
    func retire() -> [Command] {
        inbox.withLock { inbox in
            inbox.multi = nil
            defer { inbox.commands = [] }
            return inbox.commands
        }
    }

    private func startThread() -> CurlMulti? {
        guard Self.isLibraryReady, let pointer = curl_multi_init() else { return nil }
        let multi = CurlMulti(pointer: pointer)
        let start = ThreadStart(engine: self, multi: multi)
        let argument = Unmanaged.passRetained(start)
        var thread = pthread_t()
        // Signals are for other threads; a SIGPIPE from OpenSSL's writes must not end the process.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        let failure = pthread_create(&thread, nil, runEngineThread, argument.toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        guard failure == 0 else {
            argument.release()
            curl_multi_cleanup(pointer)
            return nil
        }
        pthread_setname_np(thread, "samd-http")
        pthread_detach(thread)
        return multi
    }
}

/// What the new thread is given.
private final class ThreadStart: Sendable {
    let engine: TransferEngine
    let multi: TransferEngine.CurlMulti

    init(engine: TransferEngine, multi: TransferEngine.CurlMulti) {
        self.engine = engine
        self.multi = multi
    }
}

private func runEngineThread(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let argument else { return nil }
    let start = Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
    EngineLoop(engine: start.engine, multi: start.multi.pointer).run()
    return nil
}
