/// A response's header fields in the order they came, looked up without regard to case.
package struct HTTPHeaders: Sendable, Equatable {
    /// One field as it was received, surrounding blanks removed.
    package struct Field: Sendable, Equatable {
        /// The name as the server spelled it.
        package var name: String
        /// The value.
        package var value: String

        /// Creates a field.
        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    /// Every field, repeated names included.
    package var fields: [Field]

    /// Creates headers from fields.
    package init(fields: [Field] = []) {
        self.fields = fields
    }

    /// The first value of the field `name`, in whatever case either side wrote it.
    package subscript(name: String) -> String? {
        fields.first { $0.name.lowercased() == name.lowercased() }?.value
    }
}

/// Status and headers of a response.
package struct HTTPResponseHead: Sendable, Equatable {
    /// The final status, never 1xx.
    package var status: Int
    /// The header fields of the final response.
    package var headers: HTTPHeaders

    /// Creates a head.
    package init(status: Int, headers: HTTPHeaders = HTTPHeaders()) {
        self.status = status
        self.headers = headers
    }
}

/// A response read to its end.
package struct HTTPResponse: Sendable, Equatable {
    /// Status and headers.
    package var head: HTTPResponseHead
    /// The whole body, at most `HTTPRequestOptions.maxResponseBytes`.
    package var body: [UInt8]
    /// The fields that came after a chunked body.
    package var trailers: HTTPHeaders

    /// Creates a response.
    package init(head: HTTPResponseHead, body: [UInt8], trailers: HTTPHeaders = HTTPHeaders()) {
        self.head = head
        self.body = body
        self.trailers = trailers
    }

    /// The status of `head`.
    package var status: Int { head.status }
    /// The headers of `head`.
    package var headers: HTTPHeaders { head.headers }
}

/// A response whose body is still coming.
package struct HTTPStreamingResponse: Sendable {
    /// Status and headers.
    package let head: HTTPResponseHead
    /// The body, to be read once. Letting go of it before its end cancels the transfer.
    package let body: HTTPResponseBody
    /// The fields that came after a chunked body; complete once the body was read to its end.
    package var trailers: HTTPHeaders { body.owner.transfer.trailers }
}

/// A response's body as it arrives, in pieces of at most about two `HTTPClient.bufferBytes`.
///
/// The transfer pauses while nobody reads. Cancelling the reading task cancels the transfer. Only one task may read
/// at a time.
package struct HTTPResponseBody: AsyncSequence, Sendable {
    /// A non-empty piece of the body.
    package typealias Element = [UInt8]
    /// What ends a body early.
    package typealias Failure = HTTPClientError

    let owner: TransferOwner

    /// Reads on where any earlier iterator stopped.
    package func makeAsyncIterator() -> Iterator {
        Iterator(owner: owner)
    }

    /// Hands out the body's pieces.
    package struct Iterator: AsyncIteratorProtocol {
        let owner: TransferOwner

        /// The next piece, `nil` at the end.
        package mutating func next() async throws(HTTPClientError) -> [UInt8]? {
            try await owner.transfer.nextChunk().get()
        }

        /// The next piece, `nil` at the end.
        package mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(HTTPClientError) -> [UInt8]? {
            try await owner.transfer.nextChunk().get()
        }
    }
}

/// Keeps client and transfer alive while someone may read the body, and cancels the transfer after that.
final class TransferOwner: Sendable {
    let transfer: Transfer
    private let client: HTTPClient

    init(transfer: Transfer, client: HTTPClient) {
        self.transfer = transfer
        self.client = client
    }

    deinit {
        transfer.cancel()
    }
}
