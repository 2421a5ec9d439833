/// What `/proc/<pid>/stat` says about a process (proc_pid_stat(5)).
package struct ProcessStat: Hashable, Sendable {
    /// The state: `R`, `S`, `D`, `Z` (ended, not yet waited for) …
    package var state: UInt8
    /// The process that made it, or took it over.
    package var parent: Int32
    /// The session; the pid of the process that leads it.
    package var session: Int32
    /// When it started, in clock ticks since boot.
    package var startTime: UInt64

    /// Creates a value from its parts.
    package init(state: UInt8, parent: Int32, session: Int32, startTime: UInt64) {
        self.state = state
        self.parent = parent
        self.session = session
        self.startTime = startTime
    }

    /// Whether it has ended and only waits to be waited for.
    package var isZombie: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") }

    /// Reads the line; `nil` if it has another shape.
    package init?(_ text: Span<UInt8>) {
        // The second field is the name in parentheses, which may itself hold blanks and parentheses.
        var nameEnd = text.count
        while nameEnd > 0, text[nameEnd - 1] != UInt8(ascii: ")") { nameEnd -= 1 }
        guard nameEnd > 0 else { return nil }
        var fields = Fields(in: nameEnd..<text.count)
        guard let state = fields.next(text), state.count == 1,
            let parent = fields.next(text).flatMap({ Self.number(text, $0) }), fields.skip(1, text),
            let session = fields.next(text).flatMap({ Self.number(text, $0) }), fields.skip(15, text),
            let startTime = fields.next(text).flatMap({ text.decimal(Self.withoutNewline(text, $0)) })
        else { return nil }
        self.init(state: text[state.lowerBound], parent: parent, session: session, startTime: startTime)
    }

    private static func number(_ text: Span<UInt8>, _ range: Range<Int>) -> Int32? {
        text.decimal(range).flatMap { Int32(exactly: $0) }
    }

    private static func withoutNewline(_ text: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        text[range.upperBound - 1] == Byte.newline ? range.lowerBound..<range.upperBound - 1 : range
    }
}
