package import HTTPClient

/// Where Caddy's admin API is.
package enum CaddyAdminEndpoint: Sendable, Equatable, CustomStringConvertible {
    /// An absolute path.
    case unix(path: String)
    /// An IPv6 host without brackets.
    case tcp(host: String, port: UInt16)

    /// Reads Caddy's own notation: `unix//run/caddy/admin.sock`, `127.0.0.1:2019`, `[::1]:2019`. Nil otherwise.
    package init?(_ text: String) {
        if text.hasPrefix("unix//") {
            self = .unix(path: String(text.dropFirst("unix/".count)))
            return
        }
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
            port > 0
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, !host.contains("/") else { return nil }
        self = .tcp(host: String(host), port: port)
    }

    /// Caddy's own notation.
    package var description: String {
        switch self {
        case .unix(let path): "unix/\(path)"
        case .tcp(let host, let port): "\(Self.authority(host: host, port: port))"
        }
    }

    fileprivate static func authority(host: String, port: UInt16) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    fileprivate func request(_ method: String, _ path: String) -> HTTPRequest {
        switch self {
        case .unix(let socket):
            // Caddy 2.6 accepts only an empty Host on a unix socket; later versions accept it too.
            HTTPRequest(
                method: method, url: "http://caddy\(path)", headers: [("Host", "")], unixSocketPath: socket)
        case .tcp(let host, let port):
            HTTPRequest(method: method, url: "http://\(Self.authority(host: host, port: port))\(path)")
        }
    }
}

/// Part of Caddy's configuration as it was read.
package struct CaddyObject: Sendable, Equatable {
    /// The value.
    package var value: JSONValue
    /// For `If-Match`; Caddy 2.6 sends it as a trailer. It holds the value's real path.
    package var etag: String?
    /// The path under `/config/` at which the value is, when Caddy said so.
    package var path: String? { etag.flatMap(CaddyAnswer.path(inETag:)) }
}

/// The calls to Caddy's admin API that one server needs.
package struct CaddyAdminClient: Sendable {
    /// Where Caddy is asked.
    package let endpoint: CaddyAdminEndpoint
    private let http: HTTPClient
    private let timeout: Duration

    /// A configuration of a thousand routes has about 1 MB.
    private static let maxAnswerBytes = 16 << 20
    private static let maxReadAttempts = 4
    private static let pauseAfterInterruption = Duration.milliseconds(20)

    /// Creates a client; `timeout` bounds each request.
    package init(endpoint: CaddyAdminEndpoint, http: HTTPClient, timeout: Duration = .seconds(10)) {
        self.endpoint = endpoint
        self.http = http
        self.timeout = timeout
    }

    /// The HTTP server under `key`; nil when there is none.
    package func readServer(key: String) async throws(CaddyError) -> CaddyObject? {
        try await read(Self.path(ofServer: key))
    }

    /// What carries `@id` `id`; nil when nothing does.
    package func readObject(id: String) async throws(CaddyError) -> CaddyObject? {
        try await read("/id/\(id)")
    }

    /// Adds the server with whatever parents it needs; a conflict when the key exists.
    package func createServer(key: String, _ server: JSONValue) async throws(CaddyError) {
        // PUT makes missing parents on all versions, POST on later ones only.
        try await write("PUT", Self.path(ofServer: key), server, etag: nil)
    }

    /// Replaces the server; a conflict when it is gone or, given an ETag, was changed.
    package func replaceServer(key: String, _ server: JSONValue, etag: String?) async throws(CaddyError) {
        try await write("PATCH", Self.path(ofServer: key), server, etag: etag)
    }

    /// What is in a shared place; nil when nothing is.
    func read(_ place: SharedPlace) async throws(CaddyError) -> CaddyObject? {
        try await read(place.rawValue)
    }

    /// Makes a shared place exactly `value`, nil: removes it. A conflict when it is not as `current` any more.
    func write(
        _ value: JSONValue?, to place: SharedPlace, replacing current: CaddyObject?
    ) async throws(CaddyError) {
        let method = current == nil ? "PUT" : value == nil ? "DELETE" : "PATCH"
        try await write(method, place.rawValue, value, etag: current?.etag)
    }

    /// Where a server is, also within ETags.
    static func path(ofServer key: String) -> String { "/config/apps/http/servers/\(key)" }

    private func read(_ path: String) async throws(CaddyError) -> CaddyObject? {
        let request = request("GET", path)
        let response = try await sendRepeatedly(request)
        // 404: unknown id. 400 "invalid traversal path": a parent is missing. "null": only the last key is.
        let message = CaddyAnswer.message(response.body)
        if response.status == 404 || response.status == 400 && message.contains("invalid traversal path") {
            return nil
        }
        guard response.status == 200 else { throw refusal(request, response) }
        do throws(JSONError) {
            let value = try JSONValue(parsing: response.body)
            if value == .null { return nil }
            return CaddyObject(value: value, etag: response.headers["etag"] ?? response.trailers["etag"])
        } catch {
            throw CaddyError(
                operation: request.operation, kind: .refused, detail: "the answer is not JSON: \(error)",
                hint: "does Caddy listen at \(endpoint)?")
        }
    }

    private func write(
        _ method: String, _ path: String, _ value: JSONValue?, etag: String?
    ) async throws(CaddyError) {
        var request = request(method, path)
        if let value {
            request.body = .bytes(Array(value.compact.utf8))
            request.headers.append((name: "Content-Type", value: "application/json"))
        }
        if let etag { request.headers.append((name: "If-Match", value: etag)) }
        // libcurl would send a change twice when a reused connection breaks; here it has to be seen.
        request.options.freshConnection = true
        let response = try await send(request, isChange: true)
        if response.status == 200 { return }
        throw refusal(request, response)
    }

    private func request(_ method: String, _ path: String) -> HTTPRequest {
        var request = endpoint.request(method, path)
        request.options.connectTimeout = timeout
        request.options.idleTimeout = timeout
        request.options.totalTimeout = timeout
        request.options.maxResponseBytes = Self.maxAnswerBytes
        request.options.environmentProxy = false
        return request
    }

    /// Caddy restarts its endpoint after each change, whoever made it, which may cut off what just arrived. Reading
    /// again is harmless.
    private func sendRepeatedly(_ request: HTTPRequest) async throws(CaddyError) -> HTTPResponse {
        for _ in 1..<Self.maxReadAttempts {
            do throws(CaddyError) {
                return try await send(request, isChange: false)
            } catch {
                guard error.kind == .interrupted else { throw error }
                try? await Task.sleep(for: Self.pauseAfterInterruption)
            }
        }
        return try await send(request, isChange: false)
    }

    private func send(_ request: HTTPRequest, isChange: Bool) async throws(CaddyError) -> HTTPResponse {
        do throws(HTTPClientError) {
            return try await http.send(request)
        } catch {
            throw CaddyError(error, endpoint: endpoint, isChange: isChange)
        }
    }

    private func refusal(_ request: HTTPRequest, _ response: HTTPResponse) -> CaddyError {
        let message = CaddyAnswer.message(response.body)
        // Caddy 2.6 answers 500 where later versions answer 409 (PUT) and 404 (PATCH).
        let isOverlap =
            request.method == "PUT" && message.contains("key already exists")
            || request.method == "PATCH" && message.contains("key does not exist")
        let kind: CaddyError.Kind = response.status == 412 || isOverlap ? .conflict : .refused
        return CaddyError(
            operation: request.operation, kind: kind, detail: "Caddy answered \(response.status): \(message)",
            hint: Self.hint(status: response.status, message: message))
    }

    private static func hint(status: Int, message: String) -> String? {
        if message.contains("listener address repeated") {
            return "another server in Caddy's configuration has this address: change `listen` in [caddy]"
        }
        if message.contains("address already in use") {
            return "another program has this address: change `listen` in [caddy], or find it with `ss -tlnp`"
        }
        if status == 403 { return "Caddy's admin endpoint restricts `origins`: allow this address there" }
        return nil
    }
}
