import Glibc

/// A place in the list of processes.
package struct ProcessListMark: Sendable {
    fileprivate let offset: Int
}

extension ProcFileSystem {
    /// The inode of proc's root folder: PROC_ROOT_INO of linux/proc_ns.h.
    private static let procRoot = 1
    /// Bytes of an environment that are looked at; what is behind them is not found.
    package static let environmentLimitBytes = 256 << 10
    /// Bytes of `status`, in which a line of all groups of the process may stand before the ids.
    private static let statusLimitBytes = 64 << 10

    /// The ids of the processes that can be seen, ascending, into memory that is reused.
    ///
    /// - Parameter bound: the mark is set behind the greatest id up to this one.
    /// - Returns: how many there are beyond `limit`, the greatest ids; a mark to list from, `nil` where none can be set.
    package func listProcesses(
        into pids: inout [Int32], limit: Int, markingUpTo bound: Int32 = .max
    ) throws(ProcFSError) -> (beyond: Int, mark: ProcessListMark?) {
        pids.removeAll(keepingCapacity: true)
        var beyond = 0
        var isAscending = true
        var expected: ProcessListMark?
        // How far the place of an id in proc is from the id itself (TGID_OFFSET in fs/proc/base.c).
        var distance: Int?
        try forEachProcess(from: nil) { pid, next in
            if let expected { distance = expected.offset - Int(pid) }
            expected = next
            guard pids.count < limit else {
                beyond += 1
                return true
            }
            if let last = pids.last, pid < last { isAscending = false }
            pids.append(pid)
            return true
        }
        // The kernel lists them in order; a recorded tree does not.
        guard isAscending else {
            pids.sort()
            return (beyond, nil)
        }
        // Not the place behind an entry: behind the last one that is the end, where what comes later never is.
        guard let distance, let last = pids.last else { return (beyond, nil) }
        return (beyond, ProcessListMark(offset: Int(min(bound, last)) + 1 + distance))
    }

    /// The ids of the processes behind a mark, up to `last`, into memory that is reused; at most `limit` of them.
    package func listProcesses(
        into pids: inout [Int32], limit: Int, from mark: ProcessListMark, upTo last: Int32
    ) throws(ProcFSError) {
        pids.removeAll(keepingCapacity: true)
        try forEachProcess(from: mark) { pid, _ in
            guard pid <= last, pids.count < limit else { return false }
            pids.append(pid)
            return true
        }
    }

    /// Calls `body` with each id and the place behind it until it returns false.
    private func forEachProcess(
        from mark: ProcessListMark?, _ body: (Int32, ProcessListMark?) -> Bool
    ) throws(ProcFSError) {
        guard let stream = opendir(root) else { throw ProcFSError("list", root, Errno.current) }
        defer { closedir(stream) }
        // Only proc's own entries stand in the order of their ids, so that what is behind a mark is what came later.
        var status = stat()
        let isProc = fstat(dirfd(stream), &status) == 0 && status.st_ino == Self.procRoot
        if let mark, isProc { seekdir(stream, mark.offset) }
        guard let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) else { return }
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                let error = Errno.current
                if error.rawValue != 0 { throw ProcFSError("list", root, error) }
                return
            }
            let name = (UnsafeRawPointer(entry) + nameOffset).assumingMemoryBound(to: CChar.self)
            guard let pid = Self.number(name).flatMap({ Int32(exactly: $0) }) else { continue }
            let next = isProc ? ProcessListMark(offset: Int(entry.pointee.d_off)) : nil
            guard body(pid, next) else { return }
        }
    }

    /// Everything that `stat` says; `nil` if the process is gone.
    ///
    /// - Parameter buffer: memory to read into, reused from call to call.
    package func processStatus(of pid: Int32, buffer: inout ReadBuffer) throws(ProcFSError) -> ProcessStatus?
    {
        let path = "\(root)/\(pid)/stat"
        guard try load(path, limitBytes: 4096, into: &buffer) else { return nil }
        guard let status = buffer.withBytes({ ProcessStatus($0) }) else {
            throw ProcFSError("read", path, .malformed("it has another shape"))
        }
        return status
    }

    /// The bytes that the process moved; `nil` if it is gone. Needs CAP_SYS_PTRACE for processes of other users, else
    /// `.denied`.
    package func processIO(of pid: Int32, buffer: inout ReadBuffer) throws(ProcFSError) -> ProcessIO? {
        let path = "\(root)/\(pid)/io"
        guard try load(path, limitBytes: 4096, into: &buffer) else { return nil }
        guard let io = buffer.withBytes({ ProcText.io($0) }) else {
            throw ProcFSError("read", path, .malformed("it names no counters"))
        }
        return io
    }

    /// Variables of the environment that the process was started with, in the order asked for; `nil` if it is gone. The
    /// process can write what it likes there. Needs CAP_SYS_PTRACE for processes of other users, else `.denied`.
    package func environment(
        of pid: Int32, _ names: [StaticString], buffer: inout ReadBuffer
    ) throws(ProcFSError) -> [String?]? {
        let path = "\(root)/\(pid)/environ"
        guard try load(path, limitBytes: Self.environmentLimitBytes, truncating: true, into: &buffer) else {
            return nil
        }
        return buffer.withBytes { ProcText.variables(names, in: $0) }
    }

    /// The ids of a process in the pid namespaces that it is seen from, this one's first and its own last; `nil` if it
    /// is gone.
    package func namespacePIDs(of pid: Int32, buffer: inout ReadBuffer) throws(ProcFSError) -> [Int32]? {
        let path = "\(root)/\(pid)/status"
        guard try load(path, limitBytes: Self.statusLimitBytes, truncating: true, into: &buffer) else {
            return nil
        }
        return buffer.withBytes { ProcText.namespacePIDs($0) }
    }

    /// The id that was given out last in this reader's pid namespace, to a process or a thread.
    package func lastProcess(buffer: inout ReadBuffer) throws(ProcFSError) -> Int32 {
        let path = "\(root)/loadavg"
        try buffer.load(path, limitBytes: 4096)
        guard let last = buffer.withBytes({ ProcText.lastProcess($0) }) else {
            throw ProcFSError("read", path, .malformed("it names no last process"))
        }
        return last
    }

    /// False if the file, and so its process, is gone.
    private func load(
        _ path: String, limitBytes: Int, truncating: Bool = false, into buffer: inout ReadBuffer
    ) throws(ProcFSError) -> Bool {
        do throws(ProcFSError) {
            try buffer.load(path, limitBytes: limitBytes, truncating: truncating)
            return true
        } catch {
            guard error.cause == .notFound else { throw error }
            return false
        }
    }
}
