/// A text is not JSON, ends in the middle of it, or nests too deep.
struct MalformedJSON: Error, Equatable {}

/// Walks through one JSON text and hands out the few values that are asked for, without building the others.
///
/// Made for texts that others wrote: nesting is bounded by the caller's own depth and `depthLimit`, strings are cut
/// where the caller says. Values that are passed over are not checked in every detail.
struct JSONReader {
    /// Nesting of values that are passed over.
    static let depthLimit = 128
    /// Bytes of a member's name that are told apart.
    static let nameLimitBytes = 64

    private let text: [UInt8]
    private let end: Int
    private(set) var position: Int

    init(_ text: [UInt8]) { self.init(text, in: 0..<text.count) }

    /// Reads a part of `text`; the range must be one of it.
    init(_ text: [UInt8], in range: Range<Int>) {
        self.text = text
        position = range.lowerBound
        end = range.upperBound
    }

    /// Calls `body` for each member of the object that comes next. `body` may read the member's value; if it does
    /// not, that is passed over. A value of another kind is passed over, and the answer is false.
    @discardableResult
    mutating func members(
        _ body: (String, inout JSONReader) throws(MalformedJSON) -> Void
    ) throws(MalformedJSON) -> Bool {
        guard try peek() == UInt8(ascii: "{") else { return try skipped() }
        position += 1
        if try take(UInt8(ascii: "}")) { return true }
        while true {
            guard let name = try string(limitBytes: Self.nameLimitBytes) else { throw MalformedJSON() }
            guard try take(UInt8(ascii: ":")) else { throw MalformedJSON() }
            try value { (reader: inout JSONReader) throws(MalformedJSON) in try body(name, &reader) }
            if try take(UInt8(ascii: "}")) { return true }
            guard try take(UInt8(ascii: ",")) else { throw MalformedJSON() }
        }
    }

    /// The same for the elements of an array.
    @discardableResult
    mutating func elements(
        _ body: (inout JSONReader) throws(MalformedJSON) -> Void
    ) throws(MalformedJSON) -> Bool {
        guard try peek() == UInt8(ascii: "[") else { return try skipped() }
        position += 1
        if try take(UInt8(ascii: "]")) { return true }
        while true {
            try value(body)
            if try take(UInt8(ascii: "]")) { return true }
            guard try take(UInt8(ascii: ",")) else { throw MalformedJSON() }
        }
    }

    /// The beginning of the string that comes next, in whole characters; nil for a value of another kind, which is
    /// passed over.
    mutating func string(limitBytes: Int) throws(MalformedJSON) -> String? {
        guard try peek() == UInt8(ascii: "\"") else {
            try skip()
            return nil
        }
        position += 1
        let start = position
        var isPlain = true
        while position < end, text[position] != UInt8(ascii: "\"") {
            if text[position] == UInt8(ascii: "\\") {
                isPlain = false
                position += 1
            }
            position += 1
        }
        guard position < end else { throw MalformedJSON() }
        let range = start..<position
        position += 1
        guard !isPlain else { return Self.bounded(text[range], limitBytes) }
        return unescaped(range, limitBytes)
    }

    /// The whole number that comes next, a fraction cut off; nil for anything else, which is passed over.
    mutating func integer() throws(MalformedJSON) -> Int64? {
        let first = try peek()
        let start = position
        try skip()
        guard first == UInt8(ascii: "-") || Self.isDigit(first) else { return nil }
        var digits = text[start..<position]
        let isNegative = first == UInt8(ascii: "-")
        if isNegative { digits = digits.dropFirst() }
        if let dot = digits.firstIndex(of: UInt8(ascii: ".")) { digits = digits[..<dot] }
        guard (1...18).contains(digits.count), digits.allSatisfy(Self.isDigit) else { return nil }
        let value = digits.reduce(Int64(0)) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
        return isNegative ? -value : value
    }

    /// Whether `true` or `false` comes next; nil for anything else, which is passed over.
    mutating func boolean() throws(MalformedJSON) -> Bool? {
        let first = try peek()
        try skip()
        return first == UInt8(ascii: "t") ? true : first == UInt8(ascii: "f") ? false : nil
    }

    /// The kind of value that comes next: its first byte, `{`, `[`, `"`, a digit …
    mutating func peek() throws(MalformedJSON) -> UInt8 {
        skipBlanks()
        guard position < end else { throw MalformedJSON() }
        return text[position]
    }

    /// Whether nothing but blanks follows.
    mutating func isAtEnd() -> Bool {
        skipBlanks()
        return position >= end
    }

    /// Passes over the value that comes next.
    mutating func skip() throws(MalformedJSON) {
        var depth = 0
        repeat {
            switch try peek() {
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                guard depth <= Self.depthLimit else { throw MalformedJSON() }
                position += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                guard depth > 0 else { throw MalformedJSON() }
                depth -= 1
                position += 1
            case UInt8(ascii: "\""): try skipString()
            case UInt8(ascii: ","), UInt8(ascii: ":"):
                guard depth > 0 else { throw MalformedJSON() }
                position += 1
            default: try skipWord()
            }
        } while depth > 0
    }

    // MARK: - Parts

    private mutating func value(
        _ body: (inout JSONReader) throws(MalformedJSON) -> Void
    ) throws(MalformedJSON) {
        let before = position
        try body(&self)
        if position == before { try skip() }
    }

    private mutating func skipped() throws(MalformedJSON) -> Bool {
        try skip()
        return false
    }

    private mutating func take(_ byte: UInt8) throws(MalformedJSON) -> Bool {
        guard try peek() == byte else { return false }
        position += 1
        return true
    }

    private mutating func skipString() throws(MalformedJSON) {
        position += 1
        while position < end, text[position] != UInt8(ascii: "\"") {
            position += text[position] == UInt8(ascii: "\\") ? 2 : 1
        }
        guard position < end else { throw MalformedJSON() }
        position += 1
    }

    /// A number, `true`, `false` or `null`.
    private mutating func skipWord() throws(MalformedJSON) {
        let start = position
        while position < end, Self.isWord(text[position]) { position += 1 }
        guard position > start else { throw MalformedJSON() }
    }

    private mutating func skipBlanks() {
        while position < end, Self.isBlank(text[position]) { position += 1 }
    }

    private func unescaped(_ range: Range<Int>, _ limitBytes: Int) -> String {
        var bytes: [UInt8] = []
        var index = range.lowerBound
        // An escape makes at most three bytes, a pair of surrogates four.
        while index < range.upperBound, bytes.count < limitBytes + 4 {
            guard text[index] == UInt8(ascii: "\\"), index + 1 < range.upperBound else {
                bytes.append(text[index])
                index += 1
                continue
            }
            let escape = text[index + 1]
            index += 2
            switch escape {
            case UInt8(ascii: "n"): bytes.append(0x0a)
            case UInt8(ascii: "t"): bytes.append(0x09)
            case UInt8(ascii: "r"): bytes.append(0x0d)
            case UInt8(ascii: "b"): bytes.append(0x08)
            case UInt8(ascii: "f"): bytes.append(0x0c)
            case UInt8(ascii: "u"): bytes.append(contentsOf: scalar(&index, range.upperBound))
            default: bytes.append(escape)
            }
        }
        return Self.bounded(bytes[...], limitBytes)
    }

    /// Moves behind the four digits, and behind a second surrogate.
    private func scalar(_ index: inout Int, _ end: Int) -> String.UTF8View {
        guard let first = unit(index, end) else { return "\u{fffd}".utf8 }
        index += 4
        if let scalar = Unicode.Scalar(first) { return String(scalar).utf8 }
        if (0xd800..<0xdc00).contains(first), index + 1 < end, text[index] == UInt8(ascii: "\\"),
            text[index + 1] == UInt8(ascii: "u"), let second = unit(index + 2, end),
            (0xdc00..<0xe000).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
        {
            index += 6
            return String(scalar).utf8
        }
        return "\u{fffd}".utf8
    }

    private func unit(_ index: Int, _ end: Int) -> UInt32? {
        guard index + 4 <= end else { return nil }
        var value: UInt32 = 0
        for byte in text[index..<index + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    /// Whole characters of at most `limitBytes`; bytes that are not UTF-8 become U+FFFD.
    private static func bounded(_ bytes: ArraySlice<UInt8>, _ limitBytes: Int) -> String {
        guard bytes.count > limitBytes else {
            let text = String(decoding: bytes, as: UTF8.self)
            // U+FFFD is longer than the byte it stands for.
            return text.utf8.count <= limitBytes ? text : prefix(of: text, limitBytes)
        }
        var cut = bytes.prefix(limitBytes)
        // Not in the middle of a character.
        if bytes[cut.endIndex] & 0xc0 == 0x80 {
            while let last = cut.popLast(), last & 0xc0 == 0x80 {}
        }
        return prefix(of: String(decoding: cut, as: UTF8.self), limitBytes)
    }

    private static func prefix(of text: String, _ limitBytes: Int) -> String {
        var count = 0
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            count += UTF8.width(scalar)
            guard count <= limitBytes else { break }
            scalars.append(scalar)
        }
        return String(scalars)
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        isDigit(byte) || byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") || byte == UInt8(ascii: "E")
            || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+") || byte == UInt8(ascii: ".")
    }
}
