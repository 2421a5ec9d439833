// HTTPClient: libcurl behind four calls. It serves Caddy's admin endpoint and object stores.
//
// A *request* is a value. A *transfer* is one request on its way; all transfers of a client run on one thread (the
// *engine*), which owns every libcurl handle. Tasks and engine meet in bounded buffers: a slow reader or writer pauses
// its transfer, nothing piles up.

/// One HTTP request.
package struct HTTPRequest: Sendable {
    /// The method, for example `"PUT"`.
    package var method: String
    /// An absolute `http://` or `https://` URL.
    package var url: String
    /// Sent as given. A value of `""` sends the header empty, `nil` keeps back one that would be sent by itself
    /// (`Host`, `Accept`, `Content-Length`, `Transfer-Encoding`).
    package var headers: [(name: String, value: String?)]
    /// What is sent after the headers.
    package var body: HTTPRequestBody
    /// Connects to this unix socket; the URL then only names the resource.
    package var unixSocketPath: String?
    /// Deadlines and limits.
    package var options: HTTPRequestOptions

    /// Creates a request; nothing is checked before it is sent.
    package init(
        method: String, url: String, headers: [(name: String, value: String?)] = [],
        body: HTTPRequestBody = .none, unixSocketPath: String? = nil,
        options: HTTPRequestOptions = HTTPRequestOptions()
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.unixSocketPath = unixSocketPath
        self.options = options
    }

    /// Method and URL without userinfo and query (either may hold a secret), and the unix socket.
    package var operation: String {
        var shown = url.prefix { $0 != "?" && $0 != "#" }
        if let scheme = shown.firstRange(of: "://") {
            let authority = shown[scheme.upperBound...].prefix { $0 != "/" }
            if let at = authority.lastIndex(of: "@") {
                shown = shown[..<scheme.upperBound] + shown[shown.index(after: at)...]
            }
        }
        let socket = unixSocketPath.map { " via unix:\($0)" } ?? ""
        return "\(method) \(shown)\(socket)"
    }
}

/// A request's body.
package enum HTTPRequestBody: Sendable {
    /// No body. POST, PUT and PATCH then say `Content-Length: 0`.
    case none
    /// The whole body; sent from this memory, without a copy.
    case bytes([UInt8])
    /// A body made while it is sent. With a length, exactly that many bytes have to come; without one it is sent in
    /// chunks. It is read at most `HTTPClient.bufferBytes` plus one element ahead, and cannot be sent twice.
    case stream(length: Int64?, any AsyncSequence<[UInt8], any Error> & Sendable)
}

/// Deadlines and limits of one request.
package struct HTTPRequestOptions: Sendable {
    /// For name resolution, connecting and TLS together.
    package var connectTimeout: Duration
    /// The request fails when for this long no byte moved although this side was ready for it. Counts from the start,
    /// so it also bounds the wait for the first byte of the answer.
    package var idleTimeout: Duration
    /// For the whole request, answer's body included.
    package var totalTimeout: Duration?
    /// For `HTTPClient.send`: a longer body fails the request.
    package var maxResponseBytes: Int
    /// Opens a connection of its own. libcurl silently sends a request again when the reused connection turns out to
    /// be dead; whoever needs to know that a request was cut off has to use a new connection.
    package var freshConnection: Bool
    /// Whether `https_proxy` and its like in the environment count. Never for unix sockets.
    package var environmentProxy: Bool

    /// Creates options; the defaults suit an object store.
    package init(
        connectTimeout: Duration = .seconds(10), idleTimeout: Duration = .seconds(30),
        totalTimeout: Duration? = nil, maxResponseBytes: Int = 8 << 20, freshConnection: Bool = false,
        environmentProxy: Bool = true
    ) {
        self.connectTimeout = connectTimeout
        self.idleTimeout = idleTimeout
        self.totalTimeout = totalTimeout
        self.maxResponseBytes = maxResponseBytes
        self.freshConnection = freshConnection
        self.environmentProxy = environmentProxy
    }
}
