/// The bytes that a process moved, as `/proc/<pid>/io` counts them: its own and those of children that it has waited
/// for (proc_pid_io(5)).
package struct ProcessIO: Hashable, Sendable {
    /// Bytes that went through read(2) and its like, from files, pipes, terminals and sockets alike.
    package var charactersRead: UInt64
    /// The same for write(2).
    package var charactersWritten: UInt64
    /// Bytes fetched from storage.
    package var bytesRead: UInt64
    /// Bytes sent to storage.
    package var bytesWritten: UInt64

    package init(charactersRead: UInt64, charactersWritten: UInt64, bytesRead: UInt64, bytesWritten: UInt64) {
        self.charactersRead = charactersRead
        self.charactersWritten = charactersWritten
        self.bytesRead = bytesRead
        self.bytesWritten = bytesWritten
    }

    /// What it moved, counted once: through system calls or to and from storage (mapped files), whichever is more.
    package var total: UInt64 {
        let characters = charactersRead.addingReportingOverflow(charactersWritten)
        let bytes = bytesRead.addingReportingOverflow(bytesWritten)
        return max(
            characters.overflow ? .max : characters.partialValue, bytes.overflow ? .max : bytes.partialValue)
    }
}

extension ProcText {
    /// Bytes of the value of a variable of the environment; a longer one is passed over, since its beginning means
    /// something else.
    package static let variableLimitBytes = 4096
    /// Ids of a process in nested pid namespaces: the kernel allows 32 below the first (MAX_PID_NS_LEVEL).
    package static let namespaceDepth = 33

    /// The counters in the text of `io`; `nil` unless all four are there.
    package static func io(_ text: Span<UInt8>) -> ProcessIO? {
        var charactersRead: UInt64?
        var charactersWritten: UInt64?
        var bytesRead: UInt64?
        var bytesWritten: UInt64?
        forEachLine(of: text) { line in
            var fields = Fields(in: line)
            guard let key = fields.next(text), let value = fields.next(text).flatMap({ text.decimal($0) })
            else {
                return true
            }
            if text.holds(key, "rchar:") { charactersRead = charactersRead ?? value }
            if text.holds(key, "wchar:") { charactersWritten = charactersWritten ?? value }
            if text.holds(key, "read_bytes:") { bytesRead = bytesRead ?? value }
            if text.holds(key, "write_bytes:") { bytesWritten = bytesWritten ?? value }
            return bytesWritten == nil
        }
        guard let charactersRead, let charactersWritten, let bytesRead, let bytesWritten else { return nil }
        return ProcessIO(
            charactersRead: charactersRead, charactersWritten: charactersWritten, bytesRead: bytesRead,
            bytesWritten: bytesWritten)
    }

    /// The id that was given out last, to a process or a thread, in the text of `loadavg`; `nil` if it does not say.
    package static func lastProcess(_ text: Span<UInt8>) -> Int32? {
        var last: Int32?
        forEachLine(of: text) { line in
            var fields = Fields(in: line)
            if fields.skip(4, text), let field = fields.next(text) {
                last = text.decimal(field).flatMap { Int32(exactly: $0) }
            }
            return false
        }
        return last
    }

    /// The values of some variables in the text of `environ`, in the order asked for: of each the first, as getenv(3)
    /// would find it; `nil` for one that is not there, is longer than `variableLimitBytes`, or is cut off at the text's
    /// end.
    package static func variables(_ names: [StaticString], in text: Span<UInt8>) -> [String?] {
        var values: [String?] = Array(repeating: nil, count: names.count)
        var isFound = Array(repeating: false, count: names.count)
        var start = 0
        while start < text.count {
            var end = start
            while end < text.count, text[end] != 0 { end += 1 }
            // Without its 0 it is cut off.
            guard end < text.count else { break }
            for index in names.indices where !isFound[index] {
                let valueStart = start + names[index].utf8CodeUnitCount + 1
                guard valueStart <= end, text.starts(start..<end, with: names[index]),
                    text[valueStart - 1] == UInt8(ascii: "=")
                else { continue }
                isFound[index] = true
                guard end - valueStart <= variableLimitBytes else { continue }
                values[index] = String(decoding: text.array(valueStart..<end), as: UTF8.self)
            }
            start = end + 1
        }
        return values
    }

    /// The ids of a process in the pid namespaces that it is seen from, this reader's first and its own last, in the
    /// text of `status`; empty if it does not say.
    package static func namespacePIDs(_ text: Span<UInt8>) -> [Int32] {
        var found: [Int32] = []
        forEachLine(of: text) { line in
            guard text.starts(line, with: "NSpid:") else { return true }
            var fields = Fields(in: line.lowerBound + 6..<line.upperBound)
            while let field = fields.next(text) {
                guard found.count < namespaceDepth,
                    let pid = text.decimal(field).flatMap({ Int32(exactly: $0) })
                else {
                    found = []
                    break
                }
                found.append(pid)
            }
            return false
        }
        return found
    }
}
