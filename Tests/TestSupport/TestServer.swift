import Glibc
import Synchronization

/// A server of raw sockets whose every byte the test decides. Each connection has a thread of its own, so that
/// blocking calls stay away from Swift's pool.
final class TestServer: Sendable {
    enum Place: Sendable {
        case loopback
        case unix(path: String)
    }

    typealias Handler = @Sendable (Connection) throws -> Void

    /// 0 for a unix socket.
    let port: UInt16
    private let listener: Int32
    private let state = Mutex(State())

    private struct State {
        var acceptedCount = 0
        var openSockets: Set<Int32> = []
    }

    /// How many connections were accepted so far.
    var acceptedCount: Int { state.withLock { $0.acceptedCount } }
    /// The base URL.
    var url: String { "http://127.0.0.1:\(port)" }

    /// Listens; `handler` runs once per connection, which is closed after it.
    init(_ place: Place = .loopback, handler: @escaping Handler) throws {
        switch place {
        case .loopback: (listener, port) = try Self.listenOnLoopback()
        case .unix(let path): (listener, port) = (try Self.listen(onUnixSocket: path), 0)
        }
        let listener = listener
        onNewThread { [weak self] in
            while true {
                let socket = accept(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil)
                guard socket >= 0, let self else {
                    if socket >= 0 { close(socket) }
                    break
                }
                self.serve(socket, handler)
            }
            close(listener)
        }
    }

    private func serve(_ socket: Int32, _ handler: @escaping Handler) {
        state.withLock { state in
            state.acceptedCount += 1
            state.openSockets.insert(socket)
        }
        onNewThread { [self] in
            try? handler(Connection(socket: socket))
            state.withLock { state in
                state.openSockets.remove(socket)
                close(socket)
            }
        }
    }

    /// Ends the listener and all connections. Has to be called: the connections' threads keep the server alive.
    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        state.withLock { state in
            for socket in state.openSockets { shutdown(socket, Int32(SHUT_RDWR)) }
        }
    }

    private static func listenOnLoopback() throws -> (Int32, UInt16) {
        let socket = try check(socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = try check(bind(socket, __CONST_SOCKADDR_ARG(__sockaddr__: generic), length))
                _ = try check(Glibc.listen(socket, 64))
                _ = try check(getsockname(socket, __SOCKADDR_ARG(__sockaddr__: generic), &length))
            }
        }
        return (socket, UInt16(bigEndian: address.sin_port))
    }

    private static func listen(onUnixSocket path: String) throws -> Int32 {
        let socket = try check(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                let length = socklen_t(MemoryLayout<sockaddr_un>.size)
                _ = try check(bind(socket, __CONST_SOCKADDR_ARG(__sockaddr__: generic), length))
                _ = try check(Glibc.listen(socket, 64))
            }
        }
        return socket
    }
}

/// One accepted connection; blocking.
struct Connection {
    let socket: Int32

    struct Request {
        /// Request line and headers as they came.
        var head: String
        var body: [UInt8]
    }

    struct Ended: Error {}

    /// Some bytes; throws at the end of the stream.
    func read(atMost limit: Int = 64 << 10) throws -> [UInt8] {
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            let received = recv(socket, buffer.baseAddress, limit, 0)
            count = max(0, received)
            failed = received <= 0
        }
        if failed { throw Ended() }
        return bytes
    }

    /// Everything up to and including the blank line after the headers, and what came with it.
    func readHead() throws -> (head: String, rest: [UInt8]) {
        var all: [UInt8] = []
        let end = Array("\r\n\r\n".utf8)
        while true {
            all += try read()
            if let range = all.firstRange(of: end) {
                return (
                    String(decoding: all[..<range.upperBound], as: UTF8.self), Array(all[range.upperBound...])
                )
            }
        }
    }

    /// A request with its body, if it announced a length.
    func readRequest() throws -> Request {
        var (head, body) = try readHead()
        let length =
            head.split(separator: "\r\n").lazy
            .filter { $0.lowercased().hasPrefix("content-length:") }
            .compactMap { Int($0.dropFirst(15).filter { $0 != " " }) }.first ?? 0
        while body.count < length { body += try read() }
        return Request(head: head, body: body)
    }

    /// Sends everything; throws when the other side is gone.
    func write(_ bytes: some Collection<UInt8>) throws {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if sent <= 0 { throw Ended() }
            rest = rest.dropFirst(sent)
        }
    }

    func write(_ text: String) throws { try write(Array(text.utf8)) }

    /// A whole response with a length.
    func respond(_ status: Int = 200, headers: String = "", body: [UInt8] = []) throws {
        try write("HTTP/1.1 \(status) Whatever\r\n\(headers)Content-Length: \(body.count)\r\n\r\n")
        try write(body)
    }

    /// Blocks until the other side closes.
    func waitForEnd() {
        while (try? read()) != nil {}
    }

    /// Makes the close that follows a reset.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout.size(ofValue: linger)))
    }
}

struct SocketError: Error {
    var number: Int32
}

func check(_ result: Int32) throws -> Int32 {
    if result < 0 { throw SocketError(number: errno) }
    return result
}

/// Runs `body` on a detached thread.
func onNewThread(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(body))
    let result = pthread_create(
        &thread, nil,
        { argument in
            guard let argument else { return nil }
            Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
    precondition(result == 0, "no thread")
    pthread_detach(thread)
}

/// Runs blocking work on a thread of its own. Swift's pool has a thread per core: two tests that block in it, each until
/// something else runs, stand still for ever.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        onNewThread { continuation.resume(with: Result { try body() }) }
    }
}

/// A task executor whose every job has a thread of its own: for code under test that a test's callback blocks.
final class ThreadPerJobExecutor: TaskExecutor {
    /// One for the process: no task outlives it.
    static let shared = ThreadPerJobExecutor()

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        onNewThread { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// Something that happens once and can be awaited.
final class Signal: Sendable {
    private let state = Mutex<(fired: Bool, waiters: [CheckedContinuation<Void, Never>])>((false, []))

    func fire() {
        let waiters = state.withLock { state in
            state.fired = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func wait() async {
        await withCheckedContinuation { continuation in
            let now = state.withLock { state in
                if !state.fired { state.waiters.append(continuation) }
                return state.fired
            }
            if now { continuation.resume() }
        }
    }
}

/// Lets a server's thread wait for a `Signal`.
final class ThreadGate: Sendable {
    private let pipe: (read: Int32, write: Int32)

    init(_ signal: Signal) {
        var ends: [Int32] = [0, 0]
        precondition(Glibc.pipe(&ends) == 0, "no pipe")
        pipe = (ends[0], ends[1])
        let write = pipe.write
        Task {
            await signal.wait()
            close(write)
        }
    }

    /// Blocks until the signal was fired.
    func wait() {
        var byte: UInt8 = 0
        _ = read(pipe.read, &byte, 1)
        close(pipe.read)
    }
}

/// A new directory of one test's own. Whoever makes it removes it.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/samd-test-XXXXXX\0".utf8CString)
        guard mkdtemp(&template) != nil else { throw SocketError(number: errno) }
        path = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    /// Removes it with everything in it.
    func remove() {
        nftw(path, { file, _, _, _ in file.map { Glibc.remove($0) } ?? 0 }, 16, Int32(FTW_DEPTH | FTW_PHYS))
    }
}
