// Feeds a stream of bytes to what reads Caddy's access log. Beyond not trapping it must keep these promises:
//   - the lines are the same wherever the stream is cut, none longer than the bound;
//   - an entry's texts are bounded and printable, its numbers in range.
//
// The first byte is the length of the pieces, the rest is the stream.

enum Promise {
    private static let maxLineBytes = 4096

    static func check(_ input: UnsafeRawBufferPointer) {
        guard let size = input.first else { return }
        let stream = UnsafeRawBufferPointer(rebasing: input.dropFirst())
        let lines = cut(stream, size: max(Int(size), 1))
        precondition(lines == cut(stream, size: max(stream.count, 1)))
        for line in lines {
            guard let line else { continue }
            precondition(line.count <= maxLineBytes)
            if let entry = try? AccessLogParser.parse(line) { check(entry) }
        }
    }

    private static func cut(_ stream: UnsafeRawBufferPointer, size: Int) -> [[UInt8]?] {
        var splitter = LineSplitter(maxLineBytes: maxLineBytes)
        var lines: [[UInt8]?] = []
        for start in stride(from: 0, to: stream.count, by: size) {
            let piece = UnsafeRawBufferPointer(rebasing: stream[start..<min(start + size, stream.count)])
            splitter.take(piece) { lines.append($0) }
        }
        return lines
    }

    private static func check(_ entry: AccessLogEntry) {
        for text in [entry.host, entry.method, entry.remoteAddress] {
            precondition(text.utf8.allSatisfy { (0x21...0x7e).contains($0) })
        }
        precondition(entry.host == entry.host.lowercased())
        precondition(entry.host.utf8.count <= AccessLogParser.maxHostBytes)
        precondition((1...AccessLogParser.maxMethodBytes).contains(entry.method.utf8.count))
        precondition((0...999).contains(entry.status))
        precondition(entry.user.map { (1...AccessLogParser.maxUserBytes).contains($0.utf8.count) } ?? true)
        precondition((0...AccessLogParser.maxSeconds).contains(entry.time))
        precondition((0...AccessLogParser.maxSeconds).contains(entry.duration))
    }
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafeRawPointer?, _ count: Int) -> CInt {
    Promise.check(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}
