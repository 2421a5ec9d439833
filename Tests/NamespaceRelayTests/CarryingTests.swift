import Glibc
import Synchronization
import Testing

@testable import NamespaceRelay
@testable import TestSupport

struct CarryingTests {
    @Test(arguments: ["127.0.0.1", "::1"])
    func `Bytes go to a listener that only its namespace can reach, and back`(address: String) async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, on: address, handler: InnerServer.echo)
        defer { server.stop() }
        let relays = try Relays()
        let path = try relays.relay(to: server.port, in: namespace, address: address)
        try await onThread {
            let connection = try connect(to: path)
            try connection.echo("hello")
            try connection.echo("again")
            connection.close()
        }
        try await eventually("the connection is over") {
            relays.relays.statistics()["web"]?.openConnections == 0
        }
        var expected = RelayStatistics()
        expected.connections = 1
        expected.bytesIn = 10
        expected.bytesOut = 10
        #expect(relays.relays.statistics() == ["web": expected])
        try await relays.end()
    }

    @Test func `A server on every address is reached where there is no IPv6 loopback`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, on: "::", handler: InnerServer.echo)
        defer { server.stop() }
        try run(
            "ip", "netns", "exec", namespace.name, "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1")
        let relays = try Relays()
        let path = try relays.relay(to: server.port, in: namespace, address: "::1")
        try await onThread {
            let connection = try connect(to: path)
            try connection.echo("hello")
            connection.close()
        }
        try await relays.end()
    }

    @Test func `A client that has said everything still hears the whole answer`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace) { connection in
            let question = connection.readAll()
            try connection.write("heard \(question.count)")
        }
        defer { server.stop() }
        let relays = try Relays()
        let path = try relays.relay(to: server.port, in: namespace)
        let answer = try await onThread {
            let connection = try connect(to: path)
            try connection.write([UInt8](repeating: 7, count: 1 << 20))
            connection.endWriting()
            defer { connection.close() }
            return String(decoding: connection.readAll(), as: UTF8.self)
        }
        #expect(answer == "heard \(1 << 20)")
        try await relays.end()
    }

    @Test func `A server that has said everything still hears the client`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let heard = Mutex(0)
        let over = Signal()
        let server = try await InnerServer(in: namespace) { connection in
            try connection.write("bye")
            connection.endWriting()
            let count = connection.readAll().count
            heard.withLock { $0 = count }
            over.fire()
        }
        defer { server.stop() }
        let relays = try Relays()
        let path = try relays.relay(to: server.port, in: namespace)
        let greeting = try await onThread {
            let connection = try connect(to: path)
            let greeting = connection.readAll()
            try connection.write([UInt8](repeating: 7, count: 300_000))
            connection.close()
            return greeting
        }
        await over.wait()
        #expect(greeting == Array("bye".utf8))
        #expect(heard.withLock { $0 } == 300_000)
        try await relays.end()
    }

    @Test func `Fifty megabytes arrive byte for byte at a reader that dawdles, and little is kept for it`()
        async throws
    {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let total = 50_000_000
        let server = try await InnerServer(in: namespace) { connection in
            var source = Pattern()
            var left = total
            while left > 0 {
                let count = min(left, 100_000)
                try connection.write(source.next(count))
                left -= count
            }
        }
        defer { server.stop() }
        let relays = try Relays()
        let path = try relays.relay(to: server.port, in: namespace)
        let client = try connect(to: path)
        // Nobody reads: the kernel's buffers fill, and one chunk at most is left over.
        var before: UInt64 = .max
        try await eventually("the server is held up") {
            let now = relays.relays.statistics()["web"]?.bytesOut ?? 0
            defer { before = now }
            usleep(30_000)
            return now > 0 && now == before && (relays.relays.condition()?.leftoverBytes ?? 0) > 0
        }
        #expect((relays.relays.condition()?.leftoverBytes ?? 0) <= BytePump.chunkBytes)
        let (received, largest) = try await onThread {
            var expected = Pattern()
            var received = 0
            var largest = 0
            while let bytes = try? client.read(atMost: 200_000) {
                try #require(bytes == expected.next(bytes.count))
                received += bytes.count
                if received / 5_000_000 != (received - bytes.count) / 5_000_000 { usleep(10_000) }
                largest = max(largest, (relays.relays.condition()?.leftoverBytes ?? 0))
            }
            client.close()
            return (received, largest)
        }
        #expect(received == total)
        #expect(largest <= BytePump.chunkBytes)
        try await relays.end()
    }

    @Test func `Fifty megabytes reach a server that dawdles, and their end with them`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let total = 50_000_000
        let received = Mutex((count: 0, isRight: true))
        let over = Signal()
        let server = try await InnerServer(in: namespace) { connection in
            usleep(100_000)
            var expected = Pattern()
            while let bytes = try? connection.read(atMost: 200_000) {
                let isRight = bytes == expected.next(bytes.count)
                received.withLock { $0 = ($0.count + bytes.count, $0.isRight && isRight) }
            }
            over.fire()
        }
        defer { server.stop() }
        let relays = try Relays()
        let path = try relays.relay(to: server.port, in: namespace)
        try await onThread {
            let client = try connect(to: path)
            var source = Pattern()
            for _ in 0..<500 { try client.write(source.next(total / 500)) }
            // Gone altogether, with much still under way.
            client.close()
        }
        await over.wait()
        #expect(received.withLock { $0.count } == total)
        #expect(received.withLock { $0.isRight })
        try await relays.end()
    }

    @Test func `A thousand connections at once are all served`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await EchoServer(in: namespace)
        defer { server.stop() }
        let relays = try Relays()
        let path = try relays.relay(to: server.port, in: namespace)
        try await onThread {
            let clients = try (0..<1000).map { _ in try connect(to: path) }
            for round in 0..<3 {
                for (number, client) in clients.enumerated() {
                    try client.write("\(round) of client \(number)")
                }
                for (number, client) in clients.enumerated() {
                    let text = "\(round) of client \(number)"
                    try #require(try client.read(exactly: text.utf8.count) == Array(text.utf8))
                }
            }
            #expect(relays.relays.statistics()["web"]?.openConnections == 1000)
            for client in clients { client.close() }
        }
        try await eventually("all are over") { relays.relays.statistics()["web"]?.openConnections == 0 }
        #expect(relays.relays.statistics()["web"]?.refused == 0)
        try await relays.end()
    }

    @Test func `A reset inside ends the client's connection, one outside is passed on`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let outcome = Mutex<Int32>(0)
        let over = Signal()
        let server = try await InnerServer(in: namespace) { connection in
            let order = try connection.read(atMost: 1)
            if order == Array("r".utf8) { return connection.reset() }
            // The client leaves an answer unread, which to a unix socket is a reset.
            try connection.write("unread")
            var byte: UInt8 = 0
            while recv(connection.socket, &byte, 1, 0) > 0 {}
            let error = errno
            outcome.withLock { $0 = error }
            over.fire()
        }
        defer { server.stop() }
        let relays = try Relays()
        let path = try relays.relay(to: server.port, in: namespace)
        let rest = try await onThread {
            let connection = try connect(to: path)
            try connection.write("r")
            defer { connection.close() }
            return connection.readAll()
        }
        #expect(rest.isEmpty)
        try await onThread {
            let connection = try connect(to: path)
            try connection.write("u")
            var wait = pollfd(fd: connection.socket, events: Int16(POLLIN), revents: 0)
            poll(&wait, 1, 10_000)
            connection.close()
        }
        await over.wait()
        #expect(outcome.withLock { $0 } == ECONNRESET)
        try await relays.end()
    }
}

/// Bytes without a short period.
struct Pattern {
    private var state: UInt64 = 0x9e37_79b9_7f4a_7c15
    private var rest: [UInt8] = []

    mutating func next(_ count: Int) -> [UInt8] {
        while rest.count < count {
            var block = [UInt8](repeating: 0, count: 64 << 10)
            block.withUnsafeMutableBytes { bytes in
                for index in 0..<(bytes.count / 8) {
                    state ^= state << 13
                    state ^= state >> 7
                    state ^= state << 17
                    bytes.storeBytes(of: state, toByteOffset: index * 8, as: UInt64.self)
                }
            }
            rest += block
        }
        defer { rest.removeFirst(count) }
        return Array(rest.prefix(count))
    }
}

/// Echoes small messages of many connections on one thread.
final class EchoServer: Sendable {
    let port: UInt16
    private let listener: Int32

    init(in namespace: Namespace) async throws {
        (listener, port) = try await namespace.listen()
        let listener = listener
        onNewThread {
            var waits = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
            var buffer = [UInt8](repeating: 0, count: 4096)
            while poll(&waits, nfds_t(waits.count), -1) > 0 {
                var kept = [waits[0]]
                for wait in waits.dropFirst() {
                    if wait.revents != 0 {
                        let count = recv(wait.fd, &buffer, buffer.count, 0)
                        guard count > 0, send(wait.fd, buffer, count, Int32(MSG_NOSIGNAL)) == count else {
                            close(wait.fd)
                            continue
                        }
                    }
                    kept.append(wait)
                }
                if waits[0].revents != 0 {
                    let socket = accept(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil)
                    guard socket >= 0 else { break }
                    kept.append(pollfd(fd: socket, events: Int16(POLLIN), revents: 0))
                }
                waits = kept
            }
            for wait in waits { close(wait.fd) }
        }
    }

    func stop() { shutdown(listener, Int32(SHUT_RDWR)) }
}
