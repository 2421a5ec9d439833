internal import HTTPClient

/// Why the configuration could not be brought to Caddy.
package struct CaddyError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure it was.
    package enum Kind: Sendable, Equatable {
        /// Caddy's admin endpoint does not answer.
        case unreachable
        /// The connection broke; a change may have happened or not. Caddy's endpoint restarts with every change.
        case interrupted
        /// Someone else changed the same thing in between.
        case conflict
        /// Caddy refuses the configuration or us.
        case refused
        /// Our server's key or id belongs to someone else.
        case foreign
    }

    /// What was tried on what.
    package var operation: String
    /// The kind of failure.
    package var kind: Kind
    /// Caddy's words, or the connection's.
    package var detail: String
    /// What to do about it.
    package var hint: String?

    /// Creates an error.
    package init(operation: String, kind: Kind, detail: String, hint: String? = nil) {
        self.operation = operation
        self.kind = kind
        self.detail = detail
        self.hint = hint
    }

    /// Operation and cause, without the hint.
    package var reason: String { "\(operation): \(detail)" }

    /// Operation, cause and hint on one line.
    package var description: String { hint.map { "\(reason); \($0)" } ?? reason }

    /// Whether Caddy refuses a field that it does not know, by that field's name.
    func isAbout(unknownField field: String) -> Bool {
        kind == .refused && detail.contains("unknown field \"\(field)\"")
    }
}

extension CaddyError {
    /// Translates a failed request. `isChange` says whether Caddy may have acted on it.
    init(_ error: HTTPClientError, endpoint: CaddyAdminEndpoint, isChange: Bool) {
        let kind: Kind =
            switch error.kind {
            case .connectionLost: .interrupted
            case .timeout: isChange ? .interrupted : .unreachable
            case .connect, .cancelled, .unavailable: .unreachable
            case .tls, .tooLarge, .malformed, .bodySource, .invalidRequest: .refused
            }
        self.init(
            operation: error.operation, kind: kind, detail: error.cause,
            hint: endpoint.hint(for: error))
    }
}

extension CaddyAdminEndpoint {
    fileprivate func hint(for error: HTTPClientError) -> String? {
        guard error.kind == .connect else { return error.hint }
        switch self {
        case .unix(let path):
            return "is Caddy running, with its admin endpoint on \(path)? see `systemctl status caddy`;"
                + " its drop-in 50-samd.conf puts it there"
        case .tcp(let host, let port):
            return "is Caddy running with its admin endpoint on \(host):\(port)?"
        }
    }
}
