import Glibc
import HTTPClient
import Synchronization
import Testing

@testable import TestSupport

/// How much may be between the two ends of a stream: our buffer twice (one filled, one in the reader's hands),
/// libcurl's own, one element of the source, and the unix socket's (some 200 KB; TCP's may grow to many MB).
private let boundBytes = 2 * HTTPClient.bufferBytes + (128 << 10) + elementBytes + (1 << 20)
private let elementBytes = 100_000
/// Larger than every buffer by far.
private let totalBytes = 64 << 20

/// Sees every 4001st byte and the ones beside them: enough to notice a lost, doubled or moved piece, and quick in
/// a debug build, where the test's threads share two cores with everything else.
private func checksum(_ bytes: [UInt8]) -> UInt64 {
    var sum: UInt64 = 0
    for position in stride(from: 0, to: bytes.count - 1, by: 4001) {
        sum = sum &* 31 &+ UInt64(bytes[position]) &+ UInt64(bytes[position + 1]) << 8
    }
    return sum
}

/// Counts that both ends of a stream see.
private final class Meter: Sendable {
    private let state = Mutex((in: 0, out: 0, most: 0))

    func enter(_ count: Int) {
        state.withLock { state in
            state.in += count
            state.most = max(state.most, state.in - state.out)
        }
    }
    func leave(_ count: Int) { state.withLock { $0.out += count } }
    var out: Int { state.withLock { $0.out } }
    var most: Int { state.withLock { $0.most } }
}

private struct Source: AsyncSequence, Sendable {
    struct Broken: Error {}

    var totalBytes: Int
    var breaks = false
    var meter: Meter?

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: Int
        let source: Source

        mutating func next() async throws -> [UInt8]? {
            if rest == 0 {
                if source.breaks { throw Broken() }
                return nil
            }
            let count = Swift.min(rest, elementBytes)
            rest -= count
            source.meter?.enter(count)
            return [UInt8](repeating: 7, count: count)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: totalBytes, source: self) }
}

@Suite("Streaming", .timeLimit(.minutes(2)))
struct StreamingTests {
    @Test("A slow server holds back a streamed upload", arguments: [Int64(totalBytes), nil])
    func upload(length: Int64?) async throws {
        let meter = Meter()
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let server = try TestServer(.unix(path: "\(directory.path)/s")) { connection in
            let (head, rest) = try connection.readHead()
            #expect(
                head.contains(length == nil ? "Transfer-Encoding: chunked" : "Content-Length: \(totalBytes)"))
            // Nothing is read for a while: whoever does not wait would be through by then.
            usleep(100_000)
            var received = rest.count
            meter.leave(rest.count)
            // Chunked framing adds a few bytes per 64 KiB; the last chunk is "0\r\n\r\n".
            while length == nil || received < totalBytes {
                let bytes = try connection.read()
                received += bytes.count
                meter.leave(bytes.count)
                if length == nil, bytes.suffix(5) == Array("0\r\n\r\n".utf8)[...] { break }
            }
            #expect(received >= totalBytes)
            try connection.respond(201)
        }
        defer { server.stop() }
        let request = HTTPRequest(
            method: "PUT", url: "http://store/",
            body: .stream(length: length, Source(totalBytes: totalBytes, meter: meter)),
            unixSocketPath: "\(directory.path)/s")
        #expect(try await HTTPClient().send(request).status == 201)
        #expect(meter.most < boundBytes)
    }

    @Test("A slow reader holds back a download")
    func download() async throws {
        let meter = Meter()
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let server = try TestServer(.unix(path: "\(directory.path)/s")) { connection in
            _ = try connection.readRequest()
            try connection.write("HTTP/1.1 200 OK\r\nContent-Length: \(totalBytes)\r\n\r\n")
            let piece = (0..<(1 << 16)).map { UInt8(truncatingIfNeeded: $0) }
            for _ in 0..<(totalBytes / piece.count) {
                try connection.write(piece)
                meter.enter(piece.count)
            }
            connection.waitForEnd()
        }
        defer { server.stop() }
        let response = try await HTTPClient().stream(
            HTTPRequest(method: "GET", url: "http://store/", unixSocketPath: "\(directory.path)/s"))
        var received = 0
        for try await chunk in response.body {
            // Nothing is read for a while: a server that nobody holds back would be through by then.
            if received == 0 { try await Task.sleep(for: .milliseconds(100)) }
            #expect(chunk.first == UInt8(truncatingIfNeeded: received))
            #expect(chunk.count <= 2 * HTTPClient.bufferBytes)
            received += chunk.count
            meter.leave(chunk.count)
        }
        #expect(received == totalBytes)
        #expect(meter.most < boundBytes)
    }

    @Test("Eight transfers from memory run side by side, complete, over at most eight connections")
    func parallel() async throws {
        let server = try TestServer { connection in
            while true {
                let request = try connection.readRequest()
                try connection.respond(body: Array("\(request.body.count) \(checksum(request.body))".utf8))
            }
        }
        defer { server.stop() }
        let client = HTTPClient()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<24 {
                if number >= 8 { try await group.next() }
                group.addTask {
                    var bytes = [UInt8](repeating: UInt8(number), count: 4 << 20)
                    for position in stride(from: 0, to: bytes.count, by: 4001) {
                        bytes[position] = UInt8(truncatingIfNeeded: position &* 31)
                    }
                    let response = try await client.send(
                        HTTPRequest(method: "PUT", url: "\(server.url)/\(number)", body: .bytes(bytes)))
                    #expect(response.body == Array("\(bytes.count) \(checksum(bytes))".utf8))
                }
            }
            try await group.waitForAll()
        }
        #expect(server.acceptedCount <= 8)
    }

    @Test("An answer may come before the upload ends; the upload goes on")
    func bothWays() async throws {
        let server = try TestServer { connection in
            let (_, rest) = try connection.readHead()
            try connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            var received = rest.count
            while received < 1 << 20 { received += try connection.read().count }
            try connection.write("4\r\nlast\r\n0\r\n\r\n")
            connection.waitForEnd()
        }
        defer { server.stop() }
        let (source, feed) = AsyncThrowingStream<[UInt8], any Error>.makeStream()
        let response = try await HTTPClient().stream(
            HTTPRequest(method: "POST", url: server.url, body: .stream(length: 1 << 20, source)))
        var chunks = response.body.makeAsyncIterator()
        #expect(try await chunks.next() == Array("first".utf8))
        feed.yield([UInt8](repeating: 1, count: 1 << 20))
        feed.finish()
        #expect(try await chunks.next() == Array("last".utf8))
        #expect(try await chunks.next() == nil)
    }

    @Test(
        "A source that breaks or has the wrong length fails the request",
        arguments: [
            (Source(totalBytes: 1000, breaks: true), Int64(2000), "Broken"),
            (Source(totalBytes: 1000), 2000, "ended after 1000 of 2000"),
            (Source(totalBytes: 3000), 2000, "longer than the 2000"),
            (Source(totalBytes: 1000, breaks: true), nil, "Broken"),
        ])
    private func brokenSource(source: Source, length: Int64?, text: String) async throws {
        let server = try TestServer { $0.waitForEnd() }
        defer { server.stop() }
        let error = try await #require(throws: HTTPClientError.self) {
            try await HTTPClient().send(
                HTTPRequest(method: "PUT", url: server.url, body: .stream(length: length, source)))
        }
        #expect(error.kind == .bodySource)
        #expect(error.detail.contains(text))
    }
}
