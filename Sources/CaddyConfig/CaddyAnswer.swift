/// What Caddy's admin endpoint says beside values. Pure.
enum CaddyAnswer {
    /// Of a message, so that it still fits a log line and a status report.
    static let maxMessageCharacters = 1000

    /// Caddy's own words: `{"error":"…"}`, else the body as text; one line.
    static func message(_ body: [UInt8]) -> String {
        let parsed = try? JSONValue(parsing: body)
        let text = parsed?["error"]?.stringValue ?? String(decoding: body, as: UTF8.self)
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return String(line.prefix(maxMessageCharacters))
    }

    /// The path in an ETag, which reads `"/config/apps/http 1f3a"`; nil for an empty one.
    static func path(inETag etag: String) -> String? {
        etag.split(separator: " ").first.map { String($0.drop { $0 == "\"" }) }
    }
}
