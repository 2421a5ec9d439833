import Glibc

extension ProcFileSystem {
    /// Bytes of a command line that are kept; the rest of a longer one is cut off.
    package static let commandLimitBytes = 4096
    /// File descriptors of one process that are looked at; a process with more may hide its socket.
    package static let descriptorLimit = 65_536

    /// The ids of all processes that can be seen, ascending.
    package func processes() throws(ProcFSError) -> [Int32] {
        var found: [Int32] = []
        try forEachEntry(of: root) { name, _ in
            if let pid = Self.number(name).flatMap({ Int32(exactly: $0) }) { found.append(pid) }
            return true
        }
        // The kernel lists them in order; a recorded tree does not.
        return found.sorted()
    }

    /// The sockets that a process holds open, the descriptor of each inode; `nil` if the process is gone.
    ///
    /// Looks at `descriptorLimit` descriptors at most. Needs CAP_SYS_PTRACE for processes of other users,
    /// else `.denied`.
    ///
    /// - Parameter budget: how many descriptors may still be looked at, in this and later calls; counted down. Anyone can
    ///   make hundreds of processes that share tens of thousands of descriptors.
    package func sockets(of pid: Int32, budget: inout Int) throws(ProcFSError) -> [UInt64: Int32]? {
        let limit = min(Self.descriptorLimit, budget)
        var sockets: [UInt64: Int32] = [:]
        var seen = 0
        let found: Void? = try unlessGone { () throws(ProcFSError) in
            try forEachEntry(of: "\(root)/\(pid)/fd") { name, folder in
                // Not `.` and `..`.
                guard let descriptor = Self.number(name).flatMap({ Int32(exactly: $0) }) else { return true }
                if let inode = Self.socketInode(name, in: folder) { sockets[inode] = descriptor }
                seen += 1
                return seen < limit
            }
        }
        budget -= seen
        return found == nil ? nil : sockets
    }

    /// Whether a process's descriptor is this socket.
    package func holds(_ pid: Int32, descriptor: Int32, socket inode: UInt64) -> Bool {
        Self.socketInode("\(root)/\(pid)/fd/\(descriptor)", in: AT_FDCWD) == inode
    }

    /// The network namespaces that a process holds open by a descriptor, at most `limit`; `nil` if the process is gone.
    package func openNetworkNamespaces(
        of pid: Int32, limit: Int, budget: inout Int
    ) throws(ProcFSError) -> [UInt64]? {
        var inodes: [UInt64] = []
        var rest = min(Self.descriptorLimit, budget)
        let before = rest
        let found: Void? = try unlessGone { () throws(ProcFSError) in
            try forEachEntry(of: "\(root)/\(pid)/fd") { name, folder in
                if let inode = Self.linkedInode(name, in: folder, prefix: "net:[") { inodes.append(inode) }
                rest -= 1
                return rest > 0 && inodes.count < limit
            }
        }
        budget -= before - rest
        return found == nil ? nil : inodes
    }

    /// The name of the process's main thread, at most 15 bytes (`comm`); `nil` if the process is gone.
    package func executableName(of pid: Int32) throws(ProcFSError) -> String? {
        try unlessGone { () throws(ProcFSError) in
            Self.text(try bytes("\(root)/\(pid)/comm", limitBytes: 256)[...].trimmingNewline())
        }
    }

    /// The arguments of the process, the first `commandLimitBytes` of them; empty for a kernel thread or a
    /// zombie, `nil` if the process is gone. The process can write what it likes there.
    package func commandLine(of pid: Int32) throws(ProcFSError) -> [String]? {
        try unlessGone { () throws(ProcFSError) in
            var line = try bytes(
                "\(root)/\(pid)/cmdline", limitBytes: Self.commandLimitBytes, truncating: true)
            if line.last == 0 { line.removeLast() }
            guard !line.isEmpty else { return [] }
            return line.split(separator: 0, omittingEmptySubsequences: false).map { Self.text($0) }
        }
    }

    /// The working directory, as a path of the process's own mount namespace; `nil` if the process is gone.
    package func workingDirectory(of pid: Int32) throws(ProcFSError) -> String? {
        try unlessGone { () throws(ProcFSError) in try readLink("\(root)/\(pid)/cwd") }
    }

    /// The path of the process in the cgroup v2 tree, for example `/user.slice`; `nil` if it is in none or is
    /// gone.
    package func controlGroup(of pid: Int32) throws(ProcFSError) -> String? {
        let lines = try unlessGone { () throws(ProcFSError) in
            try bytes("\(root)/\(pid)/cgroup", limitBytes: 64 << 10)
        }
        // The line of the unified tree is `0::<path>`; the others belong to cgroup v1 (cgroups(7)).
        return lines?.split(separator: UInt8(ascii: "\n")).first { $0.starts(with: "0::".utf8) }
            .map { Self.text($0.dropFirst(3)) }
    }

    /// The process's path in each cgroup tree, the unified one first; `nil` if it is gone.
    package func controlGroups(of pid: Int32) throws(ProcFSError) -> [String]? {
        try unlessGone { () throws(ProcFSError) in
            var buffer = ReadBuffer()
            try buffer.load("\(root)/\(pid)/cgroup", limitBytes: 64 << 10)
            return buffer.withBytes { ProcText.controlGroups($0) }
        }
    }

    /// State, parent, session and start; `nil` if the process is gone. The start time with the pid names one process
    /// for ever, since the pid alone is used again.
    package func processStat(of pid: Int32) throws(ProcFSError) -> ProcessStat? {
        let path = "\(root)/\(pid)/stat"
        var buffer = ReadBuffer()
        let found: Void? = try unlessGone { () throws(ProcFSError) in try buffer.load(path, limitBytes: 4096)
        }
        guard found != nil else { return nil }
        guard let stat = buffer.withBytes({ ProcessStat($0) }) else {
            throw ProcFSError("read", path, .malformed("it has another shape"))
        }
        return stat
    }

    /// When the process started, in clock ticks since boot; `nil` if it is gone.
    package func startTime(of pid: Int32) throws(ProcFSError) -> UInt64? {
        try processStat(of: pid)?.startTime
    }

    /// The real and effective user of the process, as users of this process's user namespace; `nil` if it is gone.
    package func users(of pid: Int32) throws(ProcFSError) -> (real: UInt32, effective: UInt32)? {
        let path = "\(root)/\(pid)/status"
        var buffer = ReadBuffer()
        // The line stands near the beginning, while the groups, further down, may be many.
        let found: Void? = try unlessGone { () throws(ProcFSError) in
            try buffer.load(path, limitBytes: 4096, truncating: true)
        }
        guard found != nil else { return nil }
        guard let users = buffer.withBytes({ ProcText.users($0) }) else {
            throw ProcFSError("read", path, .malformed("it names no user"))
        }
        return users
    }

    /// Turns "no such process" into `nil`.
    func unlessGone<Value>(
        _ body: () throws(ProcFSError) -> Value
    ) throws(ProcFSError) -> Value? {
        do throws(ProcFSError) {
            return try body()
        } catch {
            guard error.cause == .notFound else { throw error }
            return nil
        }
    }

    /// Calls `body` with the name of each entry and the folder's descriptor until it returns false.
    private func forEachEntry(
        of folder: String, _ body: (UnsafePointer<CChar>, Int32) -> Bool
    ) throws(ProcFSError) {
        guard let stream = opendir(folder) else { throw ProcFSError("list", folder, Errno.current) }
        defer { closedir(stream) }
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                let error = Errno.current
                if error.rawValue != 0 { throw ProcFSError("list", folder, error) }
                return
            }
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return }
            let name = (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self)
            guard body(name, dirfd(stream)) else { return }
        }
    }

    /// The inode that a descriptor's link names; `nil` if it is no socket or was closed meanwhile.
    private static func socketInode(_ name: UnsafePointer<CChar>, in folder: Int32) -> UInt64? {
        linkedInode(name, in: folder, prefix: "socket:[")
    }

    private static func linkedInode(
        _ name: UnsafePointer<CChar>, in folder: Int32, prefix: StaticString
    ) -> UInt64? {
        // The prefix and 20 digits and "]" fit; what is cut is something else.
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { target in
            guard let memory = target.baseAddress else { return nil }
            let length = readlinkat(folder, name, memory, target.count)
            let start = prefix.utf8CodeUnitCount
            guard length > start + 1, memcmp(memory, prefix.utf8Start, start) == 0 else {
                return nil
            }
            return number(target[start..<length - 1])
        }
    }

    static func number(_ name: UnsafePointer<CChar>) -> UInt64? {
        number(UnsafeBufferPointer(start: name, count: strlen(name))[...])
    }

    static func number(_ digits: Slice<UnsafeMutableBufferPointer<CChar>>) -> UInt64? {
        number(UnsafeBufferPointer(rebasing: digits)[...])
    }

    /// A decimal number of at most 19 digits and nothing else.
    private static func number(_ digits: Slice<UnsafeBufferPointer<CChar>>) -> UInt64? {
        guard !digits.isEmpty, digits.count <= 19 else { return nil }
        var value: UInt64 = 0
        for digit in digits {
            guard digit >= 48, digit <= 57 else { return nil }
            value = value * 10 + UInt64(digit - 48)
        }
        return value
    }
}
