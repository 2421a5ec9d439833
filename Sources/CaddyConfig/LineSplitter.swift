internal import Glibc

/// Cuts a stream of bytes into lines, and drops lines beyond a bound. Pure.
struct LineSplitter: Sendable {
    private let maxLineBytes: Int
    /// The beginning of a line whose end has not come.
    private var rest: [UInt8] = []
    /// Whether the line is too long, so that all until its end is dropped.
    private var isDropping = false

    init(maxLineBytes: Int) {
        self.maxLineBytes = maxLineBytes
    }

    /// Takes the next bytes and hands over each line that they complete; nil stands for one that was too long.
    mutating func take(_ bytes: UnsafeRawBufferPointer, each: ([UInt8]?) -> Void) {
        var start = 0
        while let end = Self.lineEnd(in: bytes, from: start) {
            append(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
            if isDropping || !rest.isEmpty { each(isDropping ? nil : rest) }
            rest = []
            isDropping = false
            start = end + 1
        }
        append(UnsafeRawBufferPointer(rebasing: bytes[start...]))
    }

    private static func lineEnd(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        guard start < bytes.count, let base = bytes.baseAddress,
            let found = memchr(base + start, Int32(UInt8(ascii: "\n")), bytes.count - start)
        else { return nil }
        return UnsafeRawPointer(found) - base
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if isDropping { return }
        if rest.count + bytes.count > maxLineBytes {
            rest = []
            isDropping = true
        } else {
            rest.append(contentsOf: bytes)
        }
    }
}
