/// Puts a response's head together from libcurl's header lines, skipping interim (1xx) responses.
struct ResponseHeadParser {
    /// Bound on all header bytes of one transfer, interim responses included.
    static let maxBytes = 256 << 10

    enum Progress: Equatable {
        case more
        case head(HTTPResponseHead)
        case tooLong
        case malformed
    }

    private var consumedBytes = 0
    private var status: Int?
    private var fields: [HTTPHeaders.Field] = []

    /// Takes one line, line break included.
    mutating func consume(_ bytes: UnsafeRawBufferPointer) -> Progress {
        consumedBytes += bytes.count
        if consumedBytes > Self.maxBytes { return .tooLong }
        let line = String(decoding: bytes, as: UTF8.self).trimmingBlanks()
        if line.hasPrefix("HTTP/") {
            let words = line.split(separator: " ", maxSplits: 2)
            guard words.count >= 2, let code = Int(words[1]), (100...999).contains(code) else {
                return .malformed
            }
            status = code
            fields = []
        } else if line.isEmpty {
            guard let status else { return .malformed }
            if status < 200 { return .more }
            return .head(HTTPResponseHead(status: status, headers: HTTPHeaders(fields: fields)))
        } else if let field = Self.field(line) {
            fields.append(field)
        }
        return .more
    }

    /// Takes a line that came after the final head: a trailer of a chunked body, or nil.
    mutating func consumeTrailer(_ bytes: UnsafeRawBufferPointer) -> HTTPHeaders.Field? {
        consumedBytes += bytes.count
        if consumedBytes > Self.maxBytes { return nil }
        return Self.field(String(decoding: bytes, as: UTF8.self).trimmingBlanks())
    }

    private static func field(_ line: String) -> HTTPHeaders.Field? {
        guard let colon = line.utf8.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let value = String(line[line.utf8.index(after: colon)...]).trimmingBlanks()
        return HTTPHeaders.Field(name: String(line[..<colon]), value: value)
    }
}

extension String {
    /// Without blanks, tabs and line breaks at either end. (A CR LF is one `Character`, hence by bytes.)
    fileprivate func trimmingBlanks() -> String {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d || byte == 0x0a }
        guard let first = utf8.firstIndex(where: { !isBlank($0) }),
            let last = utf8.lastIndex(where: { !isBlank($0) })
        else { return "" }
        return String(self[first...last])
    }
}
