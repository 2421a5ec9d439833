internal import Synchronization

/// An HTTP/1.1 client for many requests at a time over reused connections, TCP, TLS or unix sockets.
///
/// Redirects are not followed, `Expect: 100-continue` is never sent, bodies are not decompressed. All calls may be
/// made from any task; one thread per client does the work, and ends with the client.
package final class HTTPClient: Sendable {
    /// How much of a body is held in memory per transfer and direction. libcurl adds at most as much again.
    package static let bufferBytes = 256 << 10
    /// More transfers than this at a time are refused with `.unavailable`.
    package static let maxTransfers = 256

    private let engine = TransferEngine()
    private let nextID = Atomic<UInt64>(1)

    /// Creates a client; its thread starts with the first request.
    package init() {}

    deinit {
        engine.close()
    }

    /// Sends the request and reads the whole response.
    ///
    /// - Throws: an error also for a body of more than `maxResponseBytes`; a response with an error status is
    ///   returned.
    package func send(_ request: HTTPRequest) async throws(HTTPClientError) -> HTTPResponse {
        let response = try await stream(request)
        let limit = request.options.maxResponseBytes
        let transfer = response.body.owner.transfer
        var body: [UInt8] = []
        if let announced = response.head.headers["content-length"].flatMap({ Int($0) }) {
            if announced > limit, request.method != "HEAD" {
                throw transfer.error(.tooLarge, "the response has \(announced) bytes, allowed are \(limit)")
            }
            body.reserveCapacity(min(announced, limit))
        }
        for try await chunk in response.body {
            if body.count + chunk.count > limit {
                throw transfer.error(.tooLarge, "the response has more than the allowed \(limit) bytes")
            }
            body.append(contentsOf: chunk)
        }
        return HTTPResponse(head: response.head, body: body, trailers: response.trailers)
    }

    /// Sends the request and returns as soon as the response's headers are here.
    ///
    /// A streamed request body may then still be on its way.
    package func stream(_ request: HTTPRequest) async throws(HTTPClientError) -> HTTPStreamingResponse {
        if let reason = request.reasonNotToSend {
            throw HTTPClientError(operation: request.operation, kind: .invalidRequest, detail: reason)
        }
        if Task.isCancelled {
            throw HTTPClientError(operation: request.operation, kind: .cancelled, detail: "cancelled")
        }
        let id = nextID.add(1, ordering: .relaxed).oldValue
        let transfer = Transfer(id: id, request: request, engine: engine)
        // From here on, leaving early cancels the transfer.
        let owner = TransferOwner(transfer: transfer, client: self)
        guard engine.post(.start(transfer)) else {
            throw transfer.error(.unavailable, "the client is closed")
        }
        let head = try await transfer.awaitHead().get()
        return HTTPStreamingResponse(head: head, body: HTTPResponseBody(owner: owner))
    }

    /// Ends all transfers with `.unavailable` and the thread; later requests fail at once.
    package func close() {
        engine.close()
    }
}

extension HTTPRequest {
    /// Why the request must not reach libcurl; nil when it may.
    var reasonNotToSend: String? {
        let lowercased = url.prefix(8).lowercased()
        if !lowercased.hasPrefix("http://") && !lowercased.hasPrefix("https://") {
            return "the URL is neither http:// nor https://"
        }
        if url.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f }) {
            return "the URL holds blanks or control characters"
        }
        if method.isEmpty || !method.utf8.allSatisfy(Self.isTokenCharacter) {
            return "the method is not a word"
        }
        for (name, value) in headers {
            if name.isEmpty || !name.utf8.allSatisfy(Self.isTokenCharacter) {
                return "a header's name is not a word"
            }
            if let value, value.utf8.contains(where: { $0 == 0x0d || $0 == 0x0a || $0 == 0 }) {
                return "the header \(name) holds a line break or NUL"
            }
        }
        if let path = unixSocketPath, path.isEmpty || path.utf8.count > 107 {
            return "the socket's path has \(path.utf8.count) bytes, possible are 1 to 107"
        }
        return nil
    }

    /// A character of RFC 9110's `token`.
    private static func isTokenCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
