/// Why a line is no entry of Caddy's access log.
package enum AccessLogError: Error, Sendable, Equatable, CustomStringConvertible {
    /// More than `AccessLogParser.maxLineBytes`.
    case tooLong
    /// Not JSON.
    case notJSON(JSONError)
    /// A field is missing, has another type or is out of range, for example `"request.host"`.
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
///
/// Most of a line is written by whoever sends a request. What is used of it is checked and bounded here.
package enum AccessLogParser {
    /// Longer lines are refused.
    package static let maxLineBytes = 64 << 10
    /// A name has 253 characters at most (RFC 1035); room for a port.
    static let maxHostBytes = 260
    static let maxMethodBytes = 32
    static let maxUserBytes = 256
    static let maxAddressBytes = 64
    /// Numbers beyond are no times: the year 5138.
    static let maxSeconds = 1e11

    /// Reads one line, without its line break.
    package static func parse(_ line: [UInt8]) throws(AccessLogError) -> AccessLogEntry {
        if line.count > maxLineBytes { throw .tooLong }
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(parsing: line)
        } catch {
            throw .notJSON(error)
        }
        guard let request = value["request"] else { throw .field("request") }
        guard let time = seconds(value["ts"]) else { throw .field("ts") }
        guard let host = host(request["host"]) else { throw .field("request.host") }
        guard let method = text(request["method"], maxBytes: maxMethodBytes), !method.isEmpty else {
            throw .field("request.method")
        }
        guard let status = integer(value["status"]), status < 1000 else { throw .field("status") }
        guard let written = integer(value["size"]) else { throw .field("size") }
        // Caddy 2.6 does not count them.
        guard let read = integer(value["bytes_read"] ?? 0) else { throw .field("bytes_read") }
        guard let duration = seconds(value["duration"]) else { throw .field("duration") }
        guard let user = text(value["user_id"] ?? "", maxBytes: maxUserBytes, isASCII: false) else {
            throw .field("user_id")
        }
        guard let address = address(request) else { throw .field("request.remote_ip") }
        return AccessLogEntry(
            time: time, host: host, method: method, status: Int(status), user: user.isEmpty ? nil : user,
            bytesWritten: written, bytesRead: read, duration: duration, remoteAddress: address,
            secFetchUser: request["headers"]?["Sec-Fetch-User"] == ["?1"],
            isUpgrade: isUpgrade(status, method, request["headers"]))
    }

    private static func isUpgrade(_ status: UInt64, _ method: String, _ headers: JSONValue?) -> Bool {
        switch status {
        case 101: true
        // Caddy 2.6 knows no status for what left HTTP.
        case 0: headers?["Upgrade"] != nil
        // Over HTTP/2 a websocket begins so (RFC 8441).
        case 200: method == "CONNECT"
        default: false
        }
    }

    private static func host(_ value: JSONValue?) -> String? {
        guard let text = text(value, maxBytes: maxHostBytes) else { return nil }
        var name = text[...]
        if name.hasPrefix("[") {
            guard let end = name.firstIndex(of: "]") else { return nil }
            name = name[...end]
        } else if let colon = name.firstIndex(of: ":") {
            name = name[..<colon]
        }
        return name.lowercased()
    }

    /// 2.6 and later: `remote_ip`; before, `remote_addr` with a port.
    private static func address(_ request: JSONValue) -> String? {
        if let ip = request["remote_ip"] { return text(ip, maxBytes: maxAddressBytes) }
        guard let whole = text(request["remote_addr"], maxBytes: maxAddressBytes) else { return nil }
        guard let colon = whole.lastIndex(of: ":") else { return whole }
        return String(whole[..<colon].drop { $0 == "[" }.prefix { $0 != "]" })
    }

    /// A string without blanks and control characters.
    private static func text(_ value: JSONValue?, maxBytes: Int, isASCII: Bool = true) -> String? {
        guard let text = value?.stringValue, text.utf8.count <= maxBytes else { return nil }
        let isClean =
            isASCII
            ? text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
            : text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) }
        return isClean ? text : nil
    }

    /// A whole number from zero.
    private static func integer(_ value: JSONValue?) -> UInt64? {
        if case .integer(let number) = value { UInt64(exactly: number) } else { nil }
    }

    /// A number from zero.
    private static func seconds(_ value: JSONValue?) -> Double? {
        let number: Double
        switch value {
        case .integer(let whole): number = Double(whole)
        case .double(let fraction): number = fraction
        default: return nil
        }
        return (0...maxSeconds).contains(number) ? number : nil
    }
}
