import CLinux
import Glibc
import ProcFS

/// What a look at a terminal's inode through a process's descriptor came to.
enum TerminalInode: Equatable {
    /// The terminal, last read from at `accessed`: nanoseconds of the wall clock, good for comparing alone.
    case found(accessed: Int64)
    /// The descriptor is something else, or there is none.
    case other
    /// This process may not look.
    case denied(Errno)

    /// Descriptors that shells and what they start have on their terminal; bash and zsh keep copies at 255 and 10.
    static let usualDescriptors: [Int32] = [0, 1, 2, 10, 255]
    /// Descriptors of one process that are looked at when those are something else.
    static let descriptorLimit = 64

    /// Looks at `/proc/PID/fd/N`. Such a link leads to the very file, in whatever mount namespace it lies.
    ///
    /// - Parameter proc: where proc is mounted.
    static func look(proc: String, pid: Int32, descriptor: Int32, device: TerminalDevice) -> TerminalInode {
        let path = "\(proc)/\(pid)/fd/\(descriptor)"
        // The link's text comes from the kernel's memory. Following it to a file of a network file system could ask its server,
        // and wait for ever, so only what is called like a terminal is followed.
        switch nameSuggestsTerminal(path) {
        case .some(true): break
        case .some(false): return .other
        case nil: return failure(Errno.current)
        }
        var status = samd_file_status()
        guard samd_file_status(AT_FDCWD, path, true, &status) == 0 else { return failure(Errno.current) }
        guard status.mode & S_IFMT == S_IFCHR, TerminalDevice(deviceNumber: status.special_device) == device
        else {
            return .other
        }
        return .found(accessed: status.accessed)
    }

    /// All descriptors of a process up to the limit, until one is the terminal.
    static func search(proc: String, pid: Int32, device: TerminalDevice) -> (
        descriptor: Int32, inode: TerminalInode
    ) {
        guard let folder = opendir("\(proc)/\(pid)/fd") else { return (-1, failure(Errno.current)) }
        defer { closedir(folder) }
        for _ in 0..<descriptorLimit {
            guard let entry = readdir(folder), let offset = MemoryLayout<dirent>.offset(of: \.d_name) else {
                break
            }
            let name = (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self)
            guard let descriptor = Int32(String(cString: name)) else { continue }
            let inode = look(proc: proc, pid: pid, descriptor: descriptor, device: device)
            if inode != .other { return (descriptor, inode) }
        }
        return (-1, .other)
    }

    /// Whether a link's target ends like a terminal's path: `/dev/pts/3`, `/dev/tty1`, `/dev/console`; nil: no link.
    private static func nameSuggestsTerminal(_ path: String) -> Bool? {
        withUnsafeTemporaryAllocation(byteCount: Int(PATH_MAX), alignment: 1) { memory -> Bool? in
            guard let start = memory.bindMemory(to: CChar.self).baseAddress,
                case let length = readlink(path, start, memory.count), length >= 0
            else { return nil }
            return isTerminalPath(UnsafeRawBufferPointer(rebasing: memory[..<length]))
        }
    }

    static func isTerminalPath(_ path: some BidirectionalCollection<UInt8>) -> Bool {
        let parts = path.suffix(64).split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard parts.count >= 2, let last = parts.last else { return false }
        let isNumber =
            !last.isEmpty && last.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return isNumber && parts[parts.count - 2].elementsEqual("pts".utf8)
            || last.starts(with: "tty".utf8) || last.elementsEqual("console".utf8)
            || last.starts(with: "hvc".utf8)
    }

    private static func failure(_ errno: Errno) -> TerminalInode {
        // Gone, or closed meanwhile, is normal.
        errno.rawValue == EACCES || errno.rawValue == EPERM ? .denied(errno) : .other
    }
}
