internal import Glibc
internal import Synchronization

/// The thread that reads the access log, and nothing else.
///
/// It sleeps in poll(2) until there is something to read, so that an idle machine pays nothing for it.
final class AccessLogReceiver: Sendable {
    /// Caddy has one; after a restart a second for a moment.
    static let maxConnections = 8
    /// Read from one connection before the others get their turn.
    private static let readBytes = 16 << 10

    private let listener: Int32
    private let inbox: AccessLogInbox
    private let mayConnect: @Sendable (UInt32) -> Bool
    /// A pipe's ends: one becomes readable when the thread is to end.
    private let stopSignal: Int32
    private let stopSender: Int32
    private let ended = Latch()
    private let state = Mutex(State())

    private struct State {
        var hasEnded = false
        var isBusy = false
        var rounds: UInt64 = 0
        /// The round in which the thread was busy when it was last asked after.
        var busyRoundSeen: UInt64?
    }

    init(
        listening listener: Int32, inbox: AccessLogInbox, mayConnect: @escaping @Sendable (UInt32) -> Bool
    ) throws(AccessLogSocketError) {
        self.listener = listener
        self.inbox = inbox
        self.mayConnect = mayConnect
        var ends: [Int32] = [-1, -1]
        if pipe2(&ends, O_CLOEXEC) != 0 { throw Self.error("make a pipe for the access log", errno) }
        (stopSignal, stopSender) = (ends[0], ends[1])
    }

    private static func error(_ operation: String, _ number: Int32) -> AccessLogSocketError {
        AccessLogSocketError(description: "\(operation): \(String(cString: strerror(number)))")
    }

    deinit {
        close(stopSignal)
        close(stopSender)
    }

    /// False when the thread has ended, or is in the same piece of work as when it was last asked after.
    var isAlive: Bool {
        state.withLock { state in
            if state.hasEnded { return false }
            let round = state.isBusy ? state.rounds : nil
            defer { state.busyRoundSeen = round }
            return round == nil || round != state.busyRoundSeen
        }
    }

    /// Starts the thread.
    func start() throws(AccessLogSocketError) {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, 512 << 10)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let retained = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                let receiver = Unmanaged<AccessLogReceiver>.fromOpaque(argument).takeRetainedValue()
                pthread_setname_np(pthread_self(), "samd-access-log")
                receiver.receive()
                receiver.state.withLock { $0.hasEnded = true }
                receiver.ended.open()
                return nil
            }, retained.toOpaque())
        if result != 0 {
            retained.release()
            throw Self.error("start the thread of the access log", result)
        }
    }

    /// Ends the thread and waits for it, whether or not the task is cancelled.
    func stop() async {
        var byte: UInt8 = 0
        _ = write(stopSender, &byte, 1)
        await Task { [ended] in await ended.wait() }.value
    }

    private struct Connection {
        var descriptor: Int32
        var splitter = LineSplitter(maxLineBytes: AccessLogParser.maxLineBytes)
    }

    private func receive() {
        var connections: [Connection] = []
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.readBytes, alignment: 1)
        defer {
            buffer.deallocate()
            for connection in connections { close(connection.descriptor) }
            inbox.connectionsChanged(to: 0, refused: 0)
        }
        while true {
            var polled = ([stopSignal, listener] + connections.map(\.descriptor))
                .map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            state.withLock { $0.isBusy = false }
            let count = poll(&polled, nfds_t(polled.count), -1)
            state.withLock { state in
                state.isBusy = true
                state.rounds += 1
            }
            if count < 0 {
                if errno == EINTR { continue }
                return
            }
            if polled[0].revents != 0 { return }
            // Those that end are taken out afterwards: `polled` goes by position.
            var ended: [Int32] = []
            for index in connections.indices where polled[index + 2].revents != 0 {
                if !read(from: &connections[index], into: buffer) {
                    ended.append(connections[index].descriptor)
                }
            }
            if !ended.isEmpty {
                for descriptor in ended { close(descriptor) }
                connections.removeAll { ended.contains($0.descriptor) }
                inbox.connectionsChanged(to: connections.count, refused: 0)
            }
            if polled[1].revents != 0 { accept(into: &connections) }
        }
    }

    private func accept(into connections: inout [Connection]) {
        let descriptor = accept4(
            listener, __SOCKADDR_ARG(__sockaddr__: nil), nil,
            Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue))
        guard descriptor >= 0 else {
            // Without descriptors the connection stays where it is, and poll would return at once for ever.
            if errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM { usleep(100_000) }
            return
        }
        let peer = CaddyProcess(peerOf: descriptor)
        if connections.count < Self.maxConnections, let peer, mayConnect(peer.uid) {
            connections.append(Connection(descriptor: descriptor))
            inbox.connectionsChanged(to: connections.count, refused: 0)
        } else {
            inbox.connectionsChanged(to: connections.count, refused: 1)
            close(descriptor)
        }
    }

    /// Reads once; false when the connection is over.
    private func read(from connection: inout Connection, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        let count = Glibc.read(connection.descriptor, buffer.baseAddress, buffer.count)
        if count < 0 { return errno == EAGAIN || errno == EINTR }
        if count == 0 { return false }
        var entries: [AccessLogEntry] = []
        var malformed: UInt64 = 0
        var example: String?
        connection.splitter.take(UnsafeRawBufferPointer(rebasing: buffer[..<count])) { line in
            do throws(AccessLogError) {
                guard let line else { throw .tooLong }
                entries.append(try AccessLogParser.parse(line))
            } catch {
                malformed += 1
                example = error.description
            }
        }
        inbox.put(entries, malformed: malformed, example: example)
        return true
    }
}
