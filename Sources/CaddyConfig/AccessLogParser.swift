/// Why a line is no entry of Caddy's access log.
package enum AccessLogError: Error, Sendable, Equatable, CustomStringConvertible {
    /// More than `AccessLogParser.maxLineBytes`.
    case tooLong
    /// Not JSON.
    case notJSON(JSONError)
    /// A field is missing or has another type or is out of range, for example `"request.host"`.
    case field(String)

    /// What is wrong.
    package var description: String {
        switch self {
        case .tooLong: "longer than \(AccessLogParser.maxLineBytes) bytes"
        case .notJSON(let error): "not JSON: \(error)"
        case .field(let name): "\(name) is missing or not as Caddy writes it"
        }
    }
}

/// Reads lines of Caddy's access log. Pure.
package enum AccessLogParser {
    /// Longer lines are refused.
    package static let maxLineBytes = 64 << 10
    /// DNS allows 253 characters.
    static let maxHostBytes = 253

    /// Reads one line, without its line break.
    package static func parse(_ line: [UInt8]) throws(AccessLogError) -> AccessLogEntry {
        throw .field("request")
    }
}
