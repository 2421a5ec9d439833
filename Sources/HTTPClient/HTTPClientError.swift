internal import CCurl
internal import Glibc

/// Why a request has no (whole) response. A response with an error status is a response, not an error.
package struct HTTPClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it was; decides what is worth doing about it.
    package enum Kind: String, Sendable, Equatable {
        /// No connection: name unknown, refused, no such socket, not permitted.
        case connect
        /// A deadline of the request's options passed.
        case timeout
        /// No trusted TLS connection.
        case tls
        /// The task was cancelled.
        case cancelled
        /// The response is longer than allowed.
        case tooLarge
        /// What came is not HTTP.
        case malformed
        /// The connection broke after it was established. The server may or may not have acted.
        case connectionLost
        /// The request's body stream threw, or its length was wrong.
        case bodySource
        /// The request cannot be sent as it is.
        case invalidRequest
        /// The client was closed, or too many transfers are under way.
        case unavailable
    }

    /// Method, URL without secrets, and the unix socket.
    package var operation: String
    /// The kind of failure.
    package var kind: Kind
    /// The cause in libcurl's or our words.
    package var detail: String
    /// The system's error number where there is one.
    package var errno: Int32?
    /// What to look at, where we know.
    package var hint: String?

    /// Creates an error.
    package init(
        operation: String, kind: Kind, detail: String, errno: Int32? = nil, hint: String? = nil
    ) {
        self.operation = operation
        self.kind = kind
        self.detail = detail
        self.errno = errno
        self.hint = hint
    }

    /// Whether the same request may succeed later. Whether it may be *repeated* is the caller's to know: after
    /// `.connectionLost` and `.timeout` the server may have acted.
    package var isRetryable: Bool {
        switch kind {
        case .connect, .timeout, .connectionLost: true
        case .tls, .cancelled, .tooLarge, .malformed, .bodySource, .invalidRequest, .unavailable: false
        }
    }

    /// The cause with the system's words for `errno`. For a failed connect those alone: libcurl's name a host and a
    /// port also where a unix socket is meant.
    package var cause: String {
        guard let errno else { return detail }
        let text = Self.text(ofErrno: errno)
        return kind == .connect ? text : "\(detail) (\(text))"
    }

    /// Operation, cause and hint on one line.
    package var description: String {
        let advice = hint.map { "; \($0)" } ?? ""
        return "\(operation): \(cause)\(advice)"
    }

    private static func text(ofErrno number: Int32) -> String {
        // GNU's strerror_r returns the text and may leave the buffer alone.
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            guard let base = buffer.baseAddress, let text = strerror_r(number, base, buffer.count) else {
                return "errno \(number)"
            }
            return String(cString: text)
        }
    }
}

extension HTTPClientError {
    /// Translates libcurl's result.
    init(operation: String, code: CURLcode, detail: String, errno number: Int, unixSocketPath: String?) {
        let text = detail.isEmpty ? String(cString: curl_easy_strerror(code)) : detail
        // libcurl reports broken chunks like a broken connection, and only says so in its text.
        let isBrokenChunk = code == CURLE_RECV_ERROR && text.contains("chunked-encoding")
        let kind = isBrokenChunk ? .malformed : Self.kind(of: code)
        let systemError = number == 0 ? nil : Int32(truncatingIfNeeded: number)
        self.init(
            operation: operation, kind: kind, detail: text, errno: systemError,
            hint: Self.hint(kind: kind, errno: systemError, unixSocketPath: unixSocketPath))
    }

    private static func kind(of code: CURLcode) -> Kind {
        switch code {
        case CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT: .connect
        case CURLE_OPERATION_TIMEDOUT: .timeout
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM,
            CURLE_SSL_CIPHER, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ENGINE_NOTFOUND:
            .tls
        case CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_PARTIAL_FILE,
            CURLE_SEND_FAIL_REWIND:
            .connectionLost
        case CURLE_ABORTED_BY_CALLBACK, CURLE_READ_ERROR: .bodySource
        case CURLE_URL_MALFORMAT, CURLE_BAD_FUNCTION_ARGUMENT, CURLE_OUT_OF_MEMORY, CURLE_FAILED_INIT:
            .invalidRequest
        // "Received HTTP/0.9 when not allowed" comes as an unsupported protocol; schemes are checked before.
        default: .malformed
        }
    }

    private static func hint(kind: Kind, errno number: Int32?, unixSocketPath: String?) -> String? {
        let place = unixSocketPath ?? "the address"
        switch (kind, number) {
        case (.connect, ENOENT):
            return "\(place) does not exist: is the server running, and is this the socket it was given?"
        case (.connect, ECONNREFUSED):
            return "nothing listens on \(place): is the server running?"
        case (.connect, EACCES), (.connect, EPERM):
            return "this user may not open \(place): look at the modes of the socket and its directory"
        case (.tls, _):
            return "is the certificate valid for this name, and are the machine's clock and CA bundle right?"
        default: return nil
        }
    }
}
