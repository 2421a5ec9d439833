import CLinux
import Glibc
import NamespaceRelay
import Supervision
import Synchronization
import Testing

@testable import TestSupport

/// Runs a program to its end; throws when it fails.
func run(_ command: String...) throws {
    let process = try start(command)
    var status: Int32 = 0
    waitpid(process, &status, 0)
    try #require(status == 0, "\(command) failed")
}

/// Starts a program.
func start(_ command: [String]) throws -> pid_t {
    var arguments = command.map { strdup($0) }
    defer { for argument in arguments { free(argument) } }
    arguments.append(nil)
    var process: pid_t = 0
    try #require(posix_spawnp(&process, command[0], nil, nil, &arguments, environ) == 0)
    return process
}

/// Waits until something is so, for 10 s at most. For what the kernel does without telling.
func eventually(_ what: String, _ condition: () throws -> Bool) async throws {
    for _ in 0..<2000 {
        if try condition() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    Issue.record("in 10 s it did not come true that \(what)")
}

/// A network namespace with its loopback up. `remove` has to be called.
struct Namespace: Sendable {
    let name: String
    var entrance: String { "/run/netns/\(name)" }
    let inode: UInt64

    /// The first `ip netns add` of a machine prepares /run/netns, which two at once do wrongly.
    private static let making = Mutex(())

    init() throws {
        let name = "samd-test-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        try Self.making.withLock { _ in try run("ip", "netns", "add", name) }
        self.name = name
        try run("ip", "-n", name, "link", "set", "lo", "up")
        inode = try Self.inode(of: "/run/netns/\(name)")
    }

    static func inode(of path: String) throws -> UInt64 {
        var status = stat()
        try #require(stat(path, &status) == 0)
        return UInt64(status.st_ino)
    }

    func remove() { try? run("ip", "netns", "del", name) }

    /// A listening socket inside, made by a thread that ends in there.
    func listen(on address: String = "127.0.0.1", backlog: Int32 = 1024) async throws -> (
        socket: Int32, port: UInt16
    ) {
        try await Self.listen(on: address, behind: entrance, backlog: backlog)
    }

    static func listen(on address: String, behind entrance: String, backlog: Int32 = 1024) async throws -> (
        socket: Int32, port: UInt16
    ) {
        try await onThread {
            let file = try check(open(entrance, O_RDONLY | O_CLOEXEC))
            defer { close(file) }
            _ = try check(samd_enter_network_namespace(file))
            let isIPv6 = address.contains(":")
            let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let listener = try check(socket(isIPv6 ? AF_INET6 : AF_INET, type, 0))
            var storage = sockaddr_in6()
            var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
            if isIPv6 {
                storage.sin6_family = sa_family_t(AF_INET6)
                inet_pton(AF_INET6, address, &storage.sin6_addr)
            } else {
                var ipv4 = sockaddr_in()
                ipv4.sin_family = sa_family_t(AF_INET)
                inet_pton(AF_INET, address, &ipv4.sin_addr)
                withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: ipv4, as: sockaddr_in.self) }
                length = socklen_t(MemoryLayout<sockaddr_in>.size)
            }
            try withUnsafeMutablePointer(to: &storage) { pointer in
                try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                    _ = try check(bind(listener, __CONST_SOCKADDR_ARG(__sockaddr__: generic), length))
                    _ = try check(Glibc.listen(listener, backlog))
                    _ = try check(getsockname(listener, __SOCKADDR_ARG(__sockaddr__: generic), &length))
                }
            }
            // The port stands at the same place in both families.
            return (listener, UInt16(bigEndian: storage.sin6_port))
        }
    }
}

/// A server inside a namespace; each connection has a thread of its own.
final class InnerServer: Sendable {
    let port: UInt16
    private let listener: Int32

    init(in namespace: Namespace, on address: String = "127.0.0.1", handler: @escaping TestServer.Handler)
        async throws
    {
        (listener, port) = try await namespace.listen(on: address)
        serve(handler)
    }

    init(listener: Int32, port: UInt16, handler: @escaping TestServer.Handler) {
        (self.listener, self.port) = (listener, port)
        serve(handler)
    }

    private func serve(_ handler: @escaping TestServer.Handler) {
        let listener = listener
        onNewThread {
            while true {
                let socket = accept(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil)
                guard socket >= 0 else { break }
                onNewThread {
                    try? handler(Connection(socket: socket))
                    close(socket)
                }
            }
            close(listener)
        }
    }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    /// Sends back what comes until it ends.
    static let echo: TestServer.Handler = { connection in
        while let bytes = try? connection.read() { try connection.write(bytes) }
    }
}

/// Relays in a folder of their own with `run()` under way. `end` has to be called.
final class Relays: Sendable {
    let relays: NamespaceRelays
    let monitor = ServiceMonitor(name: "relays")
    let directory: TemporaryDirectory
    private let task: Task<Void, any Error>?

    init(
        maximumConnections: Int = 2048, isRunning: Bool = true,
        mayConnect: @escaping @Sendable (UInt32) -> Bool = { _ in true }
    ) throws {
        let directory = try TemporaryDirectory()
        let relays = NamespaceRelays(
            monitor: monitor, folder: "\(directory.path)/relay", maximumConnections: maximumConnections,
            mayConnect: mayConnect)
        task = isRunning ? Task { try await relays.run() } : nil
        (self.relays, self.directory) = (relays, directory)
    }

    /// Sets one relay and returns its socket.
    func relay(
        to port: UInt16, in namespace: Namespace, address: String = "127.0.0.1", name: String = "web"
    ) throws -> String {
        let result = relays.set([namespace.target(port, address: address, name: name)])
        return try #require(result[name]).get()
    }

    func end() async throws {
        task?.cancel()
        try await task?.value
        directory.remove()
    }
}

extension Namespace {
    func target(_ port: UInt16, address: String = "127.0.0.1", name: String = "web") -> RelayTarget {
        RelayTarget(name: name, namespace: inode, entrance: entrance, address: address, port: port)
    }
}

/// A blocking unix socket.
func unixSocket() throws -> Int32 {
    try check(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
}

/// Connects to a unix socket, with a limit of 20 s for each read.
func connect(to path: String) throws -> Connection {
    let socket = try unixSocket()
    do {
        try connect(socket, to: path)
    } catch {
        close(socket)
        throw error
    }
    return Connection(socket: socket)
}

func connect(_ socket: Int32, to path: String) throws {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    var limit = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    try withUnsafePointer(to: address) { pointer in
        try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            let length = socklen_t(MemoryLayout<sockaddr_un>.size)
            _ = try check(Glibc.connect(socket, __CONST_SOCKADDR_ARG(__sockaddr__: $0), length))
        }
    }
}

extension Connection {
    /// Exactly that many bytes.
    func read(exactly count: Int) throws -> [UInt8] {
        var all: [UInt8] = []
        while all.count < count { all += try read(atMost: count - all.count) }
        return all
    }

    /// Everything until the end.
    func readAll() -> [UInt8] {
        var all: [UInt8] = []
        while let bytes = try? read() { all += bytes }
        return all
    }

    func endWriting() { shutdown(socket, Int32(SHUT_WR)) }
    func close() { Glibc.close(socket) }
    /// Sends a message and gets it back.
    func echo(_ text: String) throws {
        try write(text)
        try #require(try read(exactly: text.utf8.count) == Array(text.utf8))
    }
}
