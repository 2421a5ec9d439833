import Glibc
import ProcFS
import Synchronization
import Testing

@testable import SocketDiagnostics
@testable import TestSupport

struct EndingConnectionsTests {
    @Test func `Only what one process holds to one port is ended`() async throws {
        let (port, other) = (try Listener(), try Listener())
        defer {
            port.stop()
            other.stop()
        }
        let holder = try Holder([
            "127.0.0.1/\(port.port)", "127.0.0.1/\(port.port)", "127.0.0.1/\(other.port)",
        ])
        let stranger = try Holder(["127.0.0.1/\(port.port)"])
        defer {
            holder.end()
            stranger.end()
        }
        try await port.accepted(3)
        try await other.accepted(1)
        let diagnostics = SocketDiagnostics()
        #expect(
            try diagnostics.endConnections(to: .loopbackIPv4, port: port.port, heldBy: holder.process) == 2)
        try await port.reset(2)
        // Nothing else was touched: there is nothing left of the one, and the others are still to be had.
        #expect(
            try diagnostics.endConnections(to: .loopbackIPv4, port: port.port, heldBy: holder.process) == 0)
        #expect(
            try diagnostics.endConnections(to: .loopbackIPv6, port: other.port, heldBy: holder.process) == 0)
        #expect(
            try diagnostics.endConnections(to: .loopbackIPv4, port: other.port, heldBy: holder.process) == 1)
        #expect(
            try diagnostics.endConnections(to: .loopbackIPv4, port: port.port, heldBy: stranger.process) == 1)
        try await port.reset(3)
        try await other.reset(1)
    }

    @Test(
        arguments: [
            ("::1", "::1", "::1"),
            // An IPv6 socket that is connected to an IPv4 address, asked for in both of its names.
            ("::", "::ffff:127.0.0.1", "127.0.0.1"), ("::", "::ffff:127.0.0.1", "::ffff:127.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "::ffff:127.0.0.1"),
        ])
    func `IPv6 sockets are found by either name`(listening: String, dialled: String, asked: String)
        async throws
    {
        let listener = try Listener(on: listening)
        defer { listener.stop() }
        let holder = try Holder(["\(dialled)/\(listener.port)"])
        defer { holder.end() }
        try await listener.accepted(1)
        let address = try #require(IPAddress(asked))
        #expect(
            try SocketDiagnostics().endConnections(to: address, port: listener.port, heldBy: holder.process)
                == 1)
        try await listener.reset(1)
    }

    @Test func `A process that is gone holds nothing`() throws {
        let holder = try Holder([])
        holder.end()
        #expect(
            try SocketDiagnostics().endConnections(to: .loopbackIPv4, port: 1, heldBy: holder.process) == 0)
    }

    @Test func `A refusal says what is missing`() {
        let denied = SocketDiagnostics.error("end", "connections to 127.0.0.1:1", Errno(rawValue: EPERM))
        #expect(denied.hint?.contains("CAP_NET_ADMIN") == true)
        let unsupported = SocketDiagnostics.error("end", "connections", Errno(rawValue: EOPNOTSUPP))
        #expect(unsupported.hint?.contains("CONFIG_INET_DIAG_DESTROY") == true)
        #expect("\(unsupported)" == "end connections: this kernel cannot (Operation not supported (95))")
    }
}

/// A process that holds connections and does nothing.
struct Holder {
    let process: pid_t

    /// - Parameter places: `address/port` each, connected one after the other.
    init(_ places: [String]) throws {
        let opening = places.enumerated().map { "exec \($0.offset + 3)<>/dev/tcp/\($0.element) && " }.joined()
        let words = ["bash", "-c", "\(opening)exec sleep 600"]
        var arguments = words.map { strdup($0) }
        defer { for argument in arguments { free(argument) } }
        arguments.append(nil)
        var process: pid_t = 0
        try #require(posix_spawnp(&process, "bash", nil, nil, &arguments, environ) == 0)
        self.process = process
    }

    func end() {
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
    }
}

/// A server that counts what it accepts and what is reset.
final class Listener: Sendable {
    let port: UInt16
    private let listener: Int32
    private let counts = Mutex((accepted: 0, reset: 0))

    init(on address: String = "127.0.0.1") throws {
        let isIPv6 = address.contains(":")
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        listener = try check(socket(isIPv6 ? AF_INET6 : AF_INET, type, 0))
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
        let listener = listener
        try withUnsafeMutablePointer(to: &storage) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = try check(bind(listener, __CONST_SOCKADDR_ARG(__sockaddr__: generic), length))
                _ = try check(Glibc.listen(listener, 16))
                _ = try check(getsockname(listener, __SOCKADDR_ARG(__sockaddr__: generic), &length))
            }
        }
        // The port stands at the same place in both families.
        port = UInt16(bigEndian: storage.sin6_port)
        onNewThread { [self] in
            while true {
                let socket = accept4(
                    listener, __SOCKADDR_ARG(__sockaddr__: nil), nil, Int32(SOCK_CLOEXEC.rawValue))
                guard socket >= 0 else { break }
                counts.withLock { $0.accepted += 1 }
                onNewThread { [self] in
                    var byte: UInt8 = 0
                    let isReset = recv(socket, &byte, 1, 0) < 0 && errno == ECONNRESET
                    if isReset { counts.withLock { $0.reset += 1 } }
                    close(socket)
                }
            }
            close(listener)
        }
    }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    func accepted(_ count: Int) async throws { try await wait("accepted", count) { $0.accepted } }
    func reset(_ count: Int) async throws { try await wait("reset", count) { $0.reset } }

    private func wait(_ what: String, _ count: Int, _ read: ((accepted: Int, reset: Int)) -> Int) async throws
    {
        for _ in 0..<2000 {
            if counts.withLock({ read($0) }) == count { return }
            try await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("\(counts.withLock { read($0) }) connections were \(what) in 10 s, not \(count)")
    }
}
