/// Why a text is not JSON.
package struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What is wrong.
    package var reason: String
    /// Where, in bytes from the beginning.
    package var offsetBytes: Int

    /// Reason and place.
    package var description: String { "\(reason) at byte \(offsetBytes)" }
}

extension JSONValue {
    /// Deeper nesting is refused: the parser is recursive.
    package static let maxDepth = 128

    /// Parses a whole text (RFC 8259). Of a repeated key the last value holds.
    package init(parsing bytes: [UInt8]) throws(JSONError) {
        var parser = JSONParser(bytes: bytes)
        self = try parser.parseDocument()
    }
}

/// A recursive-descent parser over bytes.
private struct JSONParser {
    let bytes: [UInt8]
    private var position = 0
    private var depth = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func parseDocument() throws(JSONError) -> JSONValue {
        let value = try parseValue()
        skipBlanks()
        if position < bytes.count { throw error("something follows the value") }
        return value
    }

    private func error(_ reason: String) -> JSONError {
        JSONError(reason: reason, offsetBytes: position)
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipBlanks() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    /// Skips blanks and, if it comes next, `byte`.
    private mutating func take(_ byte: Unicode.Scalar) -> Bool {
        skipBlanks()
        guard next == UInt8(ascii: byte) else { return false }
        position += 1
        return true
    }

    private mutating func parseValue() throws(JSONError) -> JSONValue {
        skipBlanks()
        guard let byte = next else { throw error("a value is missing") }
        switch byte {
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            depth += 1
            defer { depth -= 1 }
            if depth > JSONValue.maxDepth { throw error("nested deeper than \(JSONValue.maxDepth)") }
            return byte == UInt8(ascii: "{") ? try parseObject() : try parseArray()
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
        case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
        case UInt8(ascii: "n"): return try parseWord("null", .null)
        default: return try parseNumber()
        }
    }

    private mutating func parseWord(_ word: String, _ value: JSONValue) throws(JSONError) -> JSONValue {
        guard bytes[position...].starts(with: word.utf8) else { throw error("unknown word") }
        position += word.utf8.count
        return value
    }

    private mutating func parseObject() throws(JSONError) -> JSONValue {
        position += 1
        var members: [String: JSONValue] = [:]
        if take("}") { return .object(members) }
        repeat {
            skipBlanks()
            guard next == UInt8(ascii: "\"") else { throw error("a key is missing") }
            let key = try parseString()
            guard take(":") else { throw error("a colon is missing") }
            members[key] = try parseValue()
        } while take(",")
        guard take("}") else { throw error("a comma or closing brace is missing") }
        return .object(members)
    }

    private mutating func parseArray() throws(JSONError) -> JSONValue {
        position += 1
        var elements: [JSONValue] = []
        if take("]") { return .array(elements) }
        repeat { elements.append(try parseValue()) } while take(",")
        guard take("]") else { throw error("a comma or closing bracket is missing") }
        return .array(elements)
    }

    private mutating func parseNumber() throws(JSONError) -> JSONValue {
        let start = position
        if next == UInt8(ascii: "-") { position += 1 }
        let firstDigit = next
        let whole = skipDigits()
        guard whole > 0 else { throw error("a value is missing") }
        if firstDigit == UInt8(ascii: "0"), whole > 1 { throw error("a number begins with zero") }
        var isWhole = true
        if next == UInt8(ascii: ".") {
            isWhole = false
            position += 1
            guard skipDigits() > 0 else { throw error("a fraction has no digits") }
        }
        if let byte = next, byte | 0x20 == UInt8(ascii: "e") {
            isWhole = false
            position += 1
            if let sign = next, sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { position += 1 }
            guard skipDigits() > 0 else { throw error("an exponent has no digits") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let number = Int64(text) { return .integer(number) }
        guard let number = Double(text), number.isFinite else { throw error("a number is too large") }
        return .double(number)
    }

    private mutating func skipDigits() -> Int {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        return position - start
    }

    private mutating func parseString() throws(JSONError) -> String {
        position += 1
        var text: [UInt8] = []
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                guard let string = String(validating: text, as: UTF8.self) else { throw error("not UTF-8") }
                return string
            case UInt8(ascii: "\\"):
                position += 1
                text.append(contentsOf: String(try parseEscape()).utf8)
            case 0..<0x20: throw error("a control character in a string")
            default:
                text.append(byte)
                position += 1
            }
        }
        throw error("a string has no end")
    }

    private mutating func parseEscape() throws(JSONError) -> Unicode.Scalar {
        guard let byte = next else { throw error("a string has no end") }
        position += 1
        switch Unicode.Scalar(byte) {
        case "\"": return "\""
        case "\\": return "\\"
        case "/": return "/"
        case "b": return "\u{8}"
        case "f": return "\u{c}"
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "u": return try parseUnicodeEscape()
        default: throw error("an unknown escape")
        }
    }

    private mutating func parseUnicodeEscape() throws(JSONError) -> Unicode.Scalar {
        let unit = try parseHexadecimal()
        if let scalar = Unicode.Scalar(unit) { return scalar }
        // A surrogate: the other half has to follow.
        guard unit < 0xdc00, bytes[position...].starts(with: "\\u".utf8) else {
            throw error("half a surrogate pair")
        }
        position += 2
        let low = try parseHexadecimal()
        guard (0xdc00...0xdfff).contains(low),
            let scalar = Unicode.Scalar(0x10000 + (UInt32(unit) - 0xd800) << 10 + (UInt32(low) - 0xdc00))
        else { throw error("half a surrogate pair") }
        return scalar
    }

    private mutating func parseHexadecimal() throws(JSONError) -> UInt16 {
        let digits = bytes[position...].prefix(4)
        guard digits.count == 4, digits.allSatisfy({ Unicode.Scalar($0).properties.isASCIIHexDigit }),
            let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw error("four hexadecimal digits are missing") }
        position += 4
        return unit
    }
}
