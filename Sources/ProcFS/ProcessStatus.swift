/// The kernel's name of a process (`comm`): at most 15 bytes, any but 0, kept without a heap allocation.
package struct ProcessName: Hashable, Sendable, CustomStringConvertible {
    /// Bytes of a name; of kernel threads' longer ones the beginning is kept.
    package static let limitBytes = 15

    private var first: UInt64 = 0
    private var second: UInt64 = 0

    /// Takes the bytes of the range, as many as fit.
    init(_ text: Span<UInt8>, _ range: Range<Int>) {
        for (offset, index) in range.prefix(Self.limitBytes).enumerated() {
            let byte = UInt64(text[index]) << UInt64(8 * (offset & 7))
            if offset < 8 { first |= byte } else { second |= byte }
        }
    }

    /// Bytes that are not UTF-8 become U+FFFD.
    package var description: String {
        withUnsafeBytes(of: (first.littleEndian, second.littleEndian)) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }
}

/// What `/proc/<pid>/stat` says about a process and the CPU that it used (proc_pid_stat(5)).
///
/// Of a process that is just being removed, the kernel says that group and session are -1.
package struct ProcessStatus: Hashable, Sendable {
    /// PF_KTHREAD of the kernel's include/linux/sched.h.
    private static let kernelThreadFlag: UInt64 = 0x0020_0000

    package var name: ProcessName
    /// The state: `R`, `S`, `D`, `Z` (ended, not yet waited for) …
    package var state: UInt8
    /// The process that made it, or took it over.
    package var parent: Int32
    /// The process group; the pid of its leader.
    package var group: Int32
    /// The session; the pid of the process that leads it, 0 if that is in a pid namespace that cannot be seen.
    package var session: Int32
    /// The controlling terminal's device number; 0: none.
    package var terminal: Int32
    /// The terminal's foreground process group; -1: none.
    package var foregroundGroup: Int32
    /// The kernel's flags of the process.
    package var flags: UInt64
    /// Clock ticks in user mode, of all threads.
    package var userTicks: UInt64
    /// Clock ticks in the kernel.
    package var systemTicks: UInt64
    /// The same of children that it has waited for, and of those that they had waited for.
    package var childUserTicks: UInt64
    package var childSystemTicks: UInt64
    /// When it started, in clock ticks since boot.
    package var startTime: UInt64

    package var isKernelThread: Bool { flags & Self.kernelThreadFlag != 0 }
    /// Whether it has ended and only waits to be waited for.
    package var isZombie: Bool { state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") }

    /// Reads the line; `nil` if it has another shape.
    package init?(_ text: Span<UInt8>) {
        // The name stands in parentheses and may itself hold blanks, parentheses and newlines; numbers follow it.
        var nameEnd = text.count
        while nameEnd > 0, text[nameEnd - 1] != UInt8(ascii: ")") { nameEnd -= 1 }
        var nameStart = 0
        while nameStart < nameEnd, text[nameStart] != UInt8(ascii: "(") { nameStart += 1 }
        guard nameStart + 1 < nameEnd else { return nil }
        var lineEnd = text.count
        if text[lineEnd - 1] == Byte.newline { lineEnd -= 1 }
        var fields = Fields(in: nameEnd..<lineEnd)
        guard let state = fields.next(text), state.count == 1,
            let parent = fields.signed(text), let group = fields.signed(text),
            let session = fields.signed(text),
            let terminal = fields.signed(text), let foregroundGroup = fields.signed(text),
            let flags = fields.unsigned(text),
            // minflt, cminflt, majflt, cmajflt
            fields.skip(4, text),
            let userTicks = fields.unsigned(text), let systemTicks = fields.unsigned(text),
            let childUserTicks = fields.unsigned(text), let childSystemTicks = fields.unsigned(text),
            // priority, nice, num_threads, itrealvalue
            fields.skip(4, text),
            let startTime = fields.unsigned(text)
        else { return nil }
        name = ProcessName(text, nameStart + 1..<nameEnd - 1)
        self.state = text[state.lowerBound]
        self.parent = parent
        self.group = group
        self.session = session
        self.terminal = terminal
        self.foregroundGroup = foregroundGroup
        self.flags = flags
        self.userTicks = userTicks
        self.systemTicks = systemTicks
        self.childUserTicks = childUserTicks
        self.childSystemTicks = childSystemTicks
        self.startTime = startTime
    }
}

extension Fields {
    /// The next field as a number that fits 32 bits with its sign.
    fileprivate mutating func signed(_ text: Span<UInt8>) -> Int32? {
        guard let range = next(text) else { return nil }
        guard text[range.lowerBound] == UInt8(ascii: "-") else {
            return text.decimal(range).flatMap { Int32(exactly: $0) }
        }
        return text.decimal(range.lowerBound + 1..<range.upperBound).flatMap { Int32(exactly: -Int64($0)) }
    }

    /// The next field as a number without a sign.
    fileprivate mutating func unsigned(_ text: Span<UInt8>) -> UInt64? {
        next(text).flatMap { text.decimal($0) }
    }
}
