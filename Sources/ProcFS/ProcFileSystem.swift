// ProcFS: what the kernel says about sockets and processes, as values.
//
// Paths start at a given root, so that a recorded tree can stand in for /proc. A process that vanishes while
// it is looked at is no error but `nil`; "could not look" is an error of its own
// (`ProcFSError.Cause.denied`).

import Glibc

/// Whose network namespace is meant.
package enum NetworkView: Hashable, Sendable {
    /// The namespace of this process.
    case own
    /// The namespace of a process, or of a thread by its thread id.
    case process(Int32)
    /// The namespace of the thread that asks.
    case currentThread

    /// The folder below the root.
    var folder: String {
        switch self {
        case .own: "self"
        case .process(let identifier): "\(identifier)"
        case .currentThread: "thread-self"
        }
    }
}

/// The files of proc(5) that samd reads. Every call blocks for as long as the kernel takes to write the text.
package struct ProcFileSystem: Sendable {
    /// A TCP table may have this many bytes (a row takes 150, so about 220,000 sockets); a longer one is an
    /// error.
    package static let tableLimitBytes = 32 << 20

    /// Where proc is mounted, without a slash at the end.
    package let root: String

    /// Reads below `root`.
    package init(root: String = "/proc") {
        self.root = root
    }

    /// The kernel's random name of this boot, 36 characters (`sys/kernel/random/boot_id`).
    package func bootID() throws(ProcFSError) -> String {
        let path = "\(root)/sys/kernel/random/boot_id"
        let text = Self.text(try bytes(path, limitBytes: 256)[...].trimmingNewline())
        guard text.utf8.count == 36 else {
            throw ProcFSError("read", path, .malformed("\"\(text)\" is not a boot id"))
        }
        return text
    }

    /// The inode of a network namespace, which is its identity as long as it lives.
    package func networkNamespace(of view: NetworkView = .own) throws(ProcFSError) -> UInt64 {
        try namespace(.network, of: view)
    }

    /// The listeners in one table of a network namespace. Not atomic: the kernel writes it a page at a time,
    /// so a socket can be missed or seen twice while others come and go.
    ///
    /// The kernel writes all listeners before any other socket, so a table beyond the limit is read up to there; it is an
    /// error only where listeners alone fill it.
    ///
    /// - Parameter buffer: memory to read into, reused from call to call.
    /// - Returns: `nil` if there is no such table: a kernel without IPv6 has no `net/tcp6`.
    package func tcpListeners(
        in table: TCPTable, of view: NetworkView = .own, buffer: inout ReadBuffer,
        limitBytes: Int = Self.tableLimitBytes
    ) throws(ProcFSError) -> TCPTableReading? {
        let path = "\(root)/\(view.folder)/net/\(table.rawValue)"
        do throws(ProcFSError) {
            try buffer.load(path, limitBytes: limitBytes, truncating: true)
        } catch {
            // Without `net` itself there is no namespace to look at, which is not an empty one.
            guard error.cause == .notFound, table == .ipv6,
                access("\(root)/\(view.folder)/net/tcp", F_OK) == 0
            else { throw error }
            return nil
        }
        let isCut = buffer.isTruncated
        let reading: TCPTableReading
        do throws(WrongTableHeader) {
            reading = try buffer.withBytes { (text) throws(WrongTableHeader) in
                var end = text.count
                // The last row is a torn one.
                while isCut, end > 0, text[end - 1] != UInt8(ascii: "\n") { end -= 1 }
                return try TCPTableParser.parse(text.extracting(0..<end), as: table)
            }
        } catch {
            throw ProcFSError("read", path, .malformed(error.description))
        }
        if isCut, reading.rowCount == reading.listeners.count + reading.malformedCount {
            throw ProcFSError("read", path, .tooLarge(limitBytes: limitBytes))
        }
        return reading
    }

    /// The whole file, or its beginning if `truncating`.
    func bytes(
        _ path: String, limitBytes: Int, truncating: Bool = false
    ) throws(ProcFSError) -> [UInt8] {
        var buffer = ReadBuffer()
        try buffer.load(path, limitBytes: limitBytes, truncating: truncating)
        return buffer.withBytes { bytes in bytes.withUnsafeBufferPointer { Array($0) } }
    }

    /// Bytes that are not UTF-8 become U+FFFD: processes may put anything into their names.
    static func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

    /// The target of a symbolic link, at most PATH_MAX bytes.
    func readLink(_ path: String) throws(ProcFSError) -> String {
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let length = target.withUnsafeMutableBytes { memory in
            memory.bindMemory(to: CChar.self).baseAddress.map { readlink(path, $0, memory.count) } ?? -1
        }
        guard length >= 0 else { throw ProcFSError("read link", path, Errno.current) }
        return Self.text(target[..<length])
    }
}

extension ArraySlice<UInt8> {
    /// Without the newline that ends it, if one does.
    func trimmingNewline() -> ArraySlice<UInt8> { last == UInt8(ascii: "\n") ? dropLast() : self }
}
