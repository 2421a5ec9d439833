// Steps through the lines and fields of small /proc texts: bytes, no strings, no trust in their shape.

/// The blanks and newline of the kernel's texts.
enum Byte {
    static let space = UInt8(ascii: " ")
    static let tab = UInt8(ascii: "\t")
    static let newline = UInt8(ascii: "\n")
}

/// Calls `body` with the range of each line, the last one also if no newline ends it, until it returns false.
func forEachLine(of text: Span<UInt8>, _ body: (Range<Int>) -> Bool) {
    var start = 0
    while start < text.count {
        var end = start
        while end < text.count, text[end] != Byte.newline { end += 1 }
        guard body(start..<end) else { return }
        start = end + 1
    }
}

/// The fields of one line, divided by any number of blanks or tabs.
struct Fields {
    private var position: Int
    private let end: Int

    init(in line: Range<Int>) {
        position = line.lowerBound
        end = line.upperBound
    }

    /// The next field, and moves behind it; `nil` at the end of the line.
    mutating func next(_ text: Span<UInt8>) -> Range<Int>? {
        while position < end, Self.isBlank(text[position]) { position += 1 }
        let start = position
        while position < end, !Self.isBlank(text[position]) { position += 1 }
        return start < position ? start..<position : nil
    }

    /// Moves behind `count` fields; false if there are fewer.
    mutating func skip(_ count: Int, _ text: Span<UInt8>) -> Bool {
        for _ in 0..<count where next(text) == nil { return false }
        return true
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == Byte.space || byte == Byte.tab }
}

extension Span where Element == UInt8 {
    /// Whether the range holds exactly these bytes.
    func holds(_ range: Range<Int>, _ text: StaticString) -> Bool {
        range.count == text.utf8CodeUnitCount && starts(range, with: text)
    }

    /// Whether the range begins with these bytes.
    func starts(_ range: Range<Int>, with text: StaticString) -> Bool {
        guard range.count >= text.utf8CodeUnitCount else { return false }
        for offset in 0..<text.utf8CodeUnitCount
        where self[range.lowerBound + offset] != text.utf8Start[offset] {
            return false
        }
        return true
    }

    /// A decimal number of at most 19 digits, which always fits, else `nil`.
    func decimal(_ range: Range<Int>) -> UInt64? {
        guard !range.isEmpty, range.count <= 19 else { return nil }
        var value: UInt64 = 0
        for index in range {
            guard case let byte = self[index], byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else {
                return nil
            }
            value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
        }
        return value
    }

    /// A hexadecimal number of at most 8 digits, else `nil`.
    func hexadecimal32(_ range: Range<Int>) -> UInt32? {
        guard !range.isEmpty, range.count <= 8 else { return nil }
        var value: UInt32 = 0
        for index in range {
            let digit: UInt8
            switch self[index] {
            case let byte where byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9"):
                digit = byte - UInt8(ascii: "0")
            case let byte where byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "F"):
                digit = byte - UInt8(ascii: "A") + 10
            case let byte where byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "f"):
                digit = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    /// The bytes of the range.
    func array(_ range: Range<Int>) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(range.count)
        for index in range { bytes.append(self[index]) }
        return bytes
    }
}
