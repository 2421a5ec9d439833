import Glibc
import HTTPClient
import Synchronization
import Testing

@testable import TestSupport

/// Far above what is expected (milliseconds), far below what a missed event would take (the idle timeout).
private let generousBound = Duration.seconds(20)

@Suite("Failing", .timeLimit(.minutes(1)))
struct FailureTests {
    private func failure(
        _ request: HTTPRequest, client: HTTPClient = HTTPClient()
    ) async throws -> HTTPClientError {
        try await #require(throws: HTTPClientError.self) { try await client.send(request) }
    }

    @Test("Cancelling while waiting for the answer ends request and connection at once")
    func cancelBeforeHead() async throws {
        let (asked, ended) = (Signal(), Signal())
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            asked.fire()
            connection.waitForEnd()
            ended.fire()
        }
        defer { server.stop() }
        let url = server.url
        let task = Task { try await HTTPClient().send(HTTPRequest(method: "GET", url: url)) }
        await asked.wait()
        let took = await ContinuousClock().measure {
            task.cancel()
            let result = await task.result
            #expect(throws: HTTPClientError.self) { try result.get() }
            if case .failure(let error as HTTPClientError) = result { #expect(error.kind == .cancelled) }
        }
        await ended.wait()
        #expect(took < generousBound)
    }

    @Test("Cancelling while a body comes ends it, and so does letting go of it", arguments: [true, false])
    func cancelInBody(byTask: Bool) async throws {
        let (begun, ended) = (Signal(), Signal())
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
            connection.waitForEnd()
            ended.fire()
        }
        defer { server.stop() }
        let (url, client) = (server.url, HTTPClient())
        let task = Task {
            let response = try await client.stream(HTTPRequest(method: "GET", url: url))
            var chunks = response.body.makeAsyncIterator()
            #expect(try await chunks.next() == Array("x".utf8))
            begun.fire()
            if byTask { _ = try await chunks.next() }
        }
        await begun.wait()
        if byTask {
            task.cancel()
            let error = await #expect(throws: HTTPClientError.self) { try await task.value }
            #expect(error?.kind == .cancelled)
        }
        await ended.wait()
    }

    @Test("A cancelled task's request never starts")
    func cancelledBefore() async throws {
        let server = try TestServer { $0.waitForEnd() }
        defer { server.stop() }
        let url = server.url
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await HTTPClient().send(HTTPRequest(method: "GET", url: url))
        }
        let error = await #expect(throws: HTTPClientError.self) { try await task.value }
        #expect(error?.kind == .cancelled)
        #expect(server.acceptedCount == 0)
    }

    @Test("Closing the client ends transfers, idle connections and later requests")
    func close() async throws {
        let (asked, ended) = (Signal(), Signal())
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.respond()
            _ = try connection.readRequest()
            asked.fire()
            connection.waitForEnd()
            ended.fire()
        }
        defer { server.stop() }
        let client = HTTPClient()
        let request = HTTPRequest(method: "GET", url: server.url)
        _ = try await client.send(request)
        async let second = failure(request, client: client)
        await asked.wait()
        client.close()
        #expect(try await second.kind == .unavailable)
        #expect(try await failure(request, client: client).kind == .unavailable)
        await ended.wait()
    }

    @Test("Letting go of the client closes its idle connections")
    func letGo() async throws {
        let ended = Signal()
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.respond()
            connection.waitForEnd()
            ended.fire()
        }
        defer { server.stop() }
        _ = try await HTTPClient().send(HTTPRequest(method: "GET", url: server.url))
        await ended.wait()
    }

    @Test("A refused connection is named with its hint")
    func refused() async throws {
        let server = try TestServer { _ in }
        let url = server.url
        server.stop()
        let error = try await failure(HTTPRequest(method: "GET", url: "\(url)/x?secret=1"))
        #expect(error.kind == .connect)
        #expect(error.isRetryable)
        #expect(error.errno == ECONNREFUSED)
        #expect(error.description.hasPrefix("GET \(url)/x: "))
        #expect(error.description.contains("Connection refused"))
        #expect(error.description.contains("is the server running?"))
        #expect(!error.description.contains("secret"))
    }

    @Test("A missing unix socket is named with its path and a hint")
    func missingSocket() async throws {
        let error = try await failure(
            HTTPRequest(method: "PATCH", url: "http://caddy/id/x", unixSocketPath: "/nonexistent/admin.sock"))
        #expect(error.kind == .connect)
        #expect(error.errno == ENOENT)
        #expect(error.description.hasPrefix("PATCH http://caddy/id/x via unix:/nonexistent/admin.sock: "))
        #expect(error.description.contains("/nonexistent/admin.sock does not exist: is the server running"))
    }

    @Test("A reset in the middle of a body is a lost connection, after what came before it")
    func reset() async throws {
        let proceed = Signal()
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            let gate = ThreadGate(proceed)
            gate.wait()
            connection.reset()
        }
        defer { server.stop() }
        let response = try await HTTPClient().stream(HTTPRequest(method: "GET", url: server.url))
        var chunks = response.body.makeAsyncIterator()
        #expect(try await chunks.next() == Array("half".utf8))
        proceed.fire()
        do throws(HTTPClientError) {
            _ = try await chunks.next()
            Issue.record("the body ended well")
        } catch {
            #expect(error.kind == .connectionLost)
            #expect(error.isRetryable)
        }
    }

    @Test("A body shorter than announced is a lost connection")
    func truncated() async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        }
        defer { server.stop() }
        #expect(try await failure(HTTPRequest(method: "GET", url: server.url)).kind == .connectionLost)
    }

    @Test("A connection closed without an answer is a lost connection")
    func noAnswer() async throws {
        let server = try TestServer { connection in _ = try connection.readRequest() }
        defer { server.stop() }
        #expect(try await failure(HTTPRequest(method: "GET", url: server.url)).kind == .connectionLost)
    }

    @Test(
        "What is not HTTP is called so",
        arguments: [
            "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 abc OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ])
    func malformed(text: String) async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write(text)
            connection.waitForEnd()
        }
        defer { server.stop() }
        let error = try await failure(HTTPRequest(method: "GET", url: server.url))
        #expect(error.kind == .malformed)
        #expect(!error.isRetryable)
    }

    @Test("Endless headers are cut off")
    func endlessHeaders() async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\n")
            while true { try connection.write("X-\(String(repeating: "a", count: 1000)): b\r\n") }
        }
        defer { server.stop() }
        #expect(try await failure(HTTPRequest(method: "GET", url: server.url)).kind == .tooLarge)
    }

    @Test(
        "A body beyond the limit fails, whether its length was announced or not",
        arguments: ["Content-Length: 1001\r\n", ""])
    func tooLarge(header: String) async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\n\(header)\r\n")
            try connection.write([UInt8](repeating: 0, count: 1001))
        }
        defer { server.stop() }
        var request = HTTPRequest(method: "GET", url: server.url)
        request.options.maxResponseBytes = 1000
        let error = try await failure(request)
        #expect(error.kind == .tooLarge)
        #expect(error.detail.contains("1000"))
        request.options.maxResponseBytes = 1001
        #expect(try await HTTPClient().send(request).body.count == 1001)
    }

    @Test(
        "A server that stands still runs into the idle deadline",
        arguments: ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"])
    func idle(begin: String) async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write(begin)
            connection.waitForEnd()
        }
        defer { server.stop() }
        var request = HTTPRequest(method: "GET", url: server.url)
        request.options.idleTimeout = .milliseconds(50)
        let error = try await failure(request)
        #expect(error.kind == .timeout)
        #expect(error.detail == "no byte moved for 0.05 seconds")
    }

    @Test("A reader's pauses are not the server's idleness")
    func slowReader() async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.respond(body: [UInt8](repeating: 1, count: 30 << 20))
            connection.waitForEnd()
        }
        defer { server.stop() }
        var request = HTTPRequest(method: "GET", url: server.url)
        request.options.idleTimeout = .milliseconds(1500)
        let response = try await HTTPClient().stream(request)
        var received = 0
        for try await chunk in response.body {
            if received == 0 { try await Task.sleep(for: .milliseconds(2000)) }
            received += chunk.count
        }
        #expect(received == 30 << 20)
    }

    @Test("A server that trickles runs into the total deadline")
    func total() async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while true {
                try connection.write("x")
                usleep(5_000)
            }
        }
        defer { server.stop() }
        var request = HTTPRequest(method: "GET", url: server.url)
        request.options.totalTimeout = .milliseconds(100)
        let error = try await failure(request)
        #expect(error.kind == .timeout)
        #expect(error.detail == "not done within 0.1 seconds")
    }
}
