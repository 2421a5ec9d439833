import CLinux
import Glibc
package import ProcFS

/// Why something below a process's root was not read.
package enum GuardedFailure: Error, Equatable, Sendable, CustomStringConvertible {
    /// No such file or folder; or the process is gone, which `GuardedRoot.init` alone can tell.
    case notFound
    /// The kernel refused it, symbolic links in the last place (ELOOP) among it.
    case kernel(Errno)
    /// It is no regular file, or no folder: a pipe, a device, a socket.
    case wrongKind
    /// It belongs to this user, to whom it should not.
    case foreignOwner(UInt32)
    /// It is longer than the bound.
    case tooLarge(limitBytes: Int)

    package var description: String {
        switch self {
        case .notFound: "nothing there"
        case .kernel(let errno): "\(errno)"
        case .wrongKind: "it is neither a regular file nor a folder"
        case .foreignOwner(let uid): "it belongs to another user (\(uid))"
        case .tooLarge(let limitBytes): "it is longer than \(limitBytes) bytes"
        }
    }
}

/// What stat(2) says about a file below a guarded root.
package struct GuardedStatus: Equatable, Sendable {
    package var device: UInt64
    package var inode: UInt64
    package var sizeBytes: Int64
    /// Nanoseconds since 1970 as its file system says, which may be anything: only to compare files with each other.
    package var modifiedAt: Int64
    package var uid: UInt32
    package var isFile: Bool
    package var isFolder: Bool
}

/// The root folder of a process, below which a daemon of root opens files whose paths the process chose.
///
/// Paths are resolved by the kernel as the process itself would (openat2(2) with RESOLVE_IN_ROOT), never through
/// magic links of proc, so that they lead nowhere that the process's own root does not. Nothing is opened for reading
/// before it is known to be a regular file: to open a device or a pipe can do something. A file system that the
/// process's user serves himself (FUSE) is closed to root by the kernel unless the machine's owner allowed it
/// (`user_allow_other`).
package struct GuardedRoot: ~Copyable {
    /// Bytes of a path.
    package static let pathLimitBytes = 4096

    private let descriptor: Int32
    /// Users whose files are read.
    private let owners: [UInt32]

    /// Opens the root of a process.
    ///
    /// - Parameter owners: the users whose files may be read; everybody's if empty.
    /// - Throws: `.notFound` if the process is gone.
    package init(of pid: Int32, procfs: ProcFileSystem, owners: [UInt32]) throws(GuardedFailure) {
        descriptor = open("\(procfs.root)/\(pid)/root", O_PATH | O_DIRECTORY | O_CLOEXEC)
        self.owners = owners
        guard descriptor >= 0 else { throw Self.failure() }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// What is at `path`, without opening it; a symbolic link in the last place is neither file nor folder.
    package func status(_ path: String) throws(GuardedFailure) -> GuardedStatus {
        let found = try place(path)
        return found.status
    }

    /// A folder, opened for `GuardedFolder`'s questions.
    package func folder(_ path: String) throws(GuardedFailure) -> GuardedFolder {
        // Symbolic links to folders are common (a home on another disk), and lead nowhere but below the root.
        try GuardedFolder(taking: openBelow(path, O_PATH | O_DIRECTORY), owners: owners)
    }

    /// The whole of a regular file.
    package func contents(_ path: String, limitBytes: Int) throws(GuardedFailure) -> [UInt8] {
        let file = try file(path)
        guard file.status.sizeBytes <= Int64(limitBytes) else { throw .tooLarge(limitBytes: limitBytes) }
        let bytes = try file.read(from: 0, limitBytes: limitBytes + 1)
        guard bytes.count <= limitBytes else { throw .tooLarge(limitBytes: limitBytes) }
        return bytes
    }

    /// A regular file of one of the owners, opened for reading.
    package func file(_ path: String) throws(GuardedFailure) -> GuardedFile {
        let found = try place(path)
        return try GuardedFile(reopening: found, owners: owners)
    }

    private func place(_ path: String) throws(GuardedFailure) -> GuardedPlace {
        try GuardedPlace(taking: openBelow(path, O_PATH | O_NOFOLLOW))
    }

    private func openBelow(_ path: String, _ flags: Int32) throws(GuardedFailure) -> Int32 {
        guard path.utf8.count < Self.pathLimitBytes, !path.utf8.contains(0) else {
            throw .kernel(Errno(rawValue: ENAMETOOLONG))
        }
        let opened = samd_openat2(
            descriptor, path, UInt64(flags | O_CLOEXEC), UInt64(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS))
        guard opened >= 0 else { throw Self.failure() }
        return opened
    }

    fileprivate static func failure() -> GuardedFailure {
        let errno = Errno.current
        switch errno.rawValue {
        case ENOENT, ESRCH, ENOTDIR: return .notFound
        default: return .kernel(errno)
        }
    }
}

/// A file that is named and not opened (O_PATH).
struct GuardedPlace: ~Copyable {
    let descriptor: Int32
    let status: GuardedStatus

    init(taking descriptor: Int32) throws(GuardedFailure) {
        self.descriptor = descriptor
        var found = stat()
        guard fstat(descriptor, &found) == 0 else {
            status = GuardedStatus(
                device: 0, inode: 0, sizeBytes: 0, modifiedAt: 0, uid: 0, isFile: false, isFolder: false)
            throw GuardedRoot.failure()
        }
        status = GuardedStatus(found)
    }

    deinit { close(descriptor) }
}

/// A regular file below a guarded root.
package struct GuardedFile: ~Copyable {
    private let descriptor: Int32
    package let status: GuardedStatus

    init(reopening place: borrowing GuardedPlace, owners: [UInt32]) throws(GuardedFailure) {
        status = place.status
        guard status.isFile else {
            // O_PATH with O_NOFOLLOW opens a symbolic link itself.
            descriptor = -1
            throw .wrongKind
        }
        guard owners.isEmpty || owners.contains(status.uid) else {
            descriptor = -1
            throw .foreignOwner(status.uid)
        }
        // The one magic link that is followed is this process's own.
        descriptor = open("/proc/self/fd/\(place.descriptor)", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
        guard descriptor >= 0 else { throw GuardedRoot.failure() }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// At most `limitBytes` from an offset on; fewer at the end of the file.
    package func read(from offset: Int64, limitBytes: Int) throws(GuardedFailure) -> [UInt8] {
        // Holes of a huge file are not made memory: no more than the file has.
        let wanted = min(max(0, status.sizeBytes - offset) + 1, Int64(limitBytes))
        var bytes = [UInt8](repeating: 0, count: Int(wanted))
        var filled = 0
        while filled < bytes.count {
            let got = bytes.withUnsafeMutableBytes { memory in
                pread(
                    descriptor, memory.baseAddress.map { $0 + filled }, memory.count - filled,
                    Int(offset) + filled)
            }
            if got < 0 {
                if errno == EINTR { continue }
                throw GuardedRoot.failure()
            }
            if got == 0 { break }
            filled += got
        }
        bytes.removeLast(bytes.count - filled)
        return bytes
    }
}

/// A folder below a guarded root. What is in it is opened without following links.
package struct GuardedFolder: ~Copyable {
    /// Names of one folder that are looked at, unless a smaller bound is asked for.
    package static let entryLimit = 4096

    package let descriptor: Int32
    private let owners: [UInt32]

    init(taking descriptor: Int32, owners: [UInt32]) throws(GuardedFailure) {
        self.descriptor = descriptor
        self.owners = owners
    }

    deinit { close(descriptor) }

    /// What names the folder for as long as it is open: for inotify_add_watch(2).
    package var ownPath: String { "/proc/self/fd/\(descriptor)" }

    package func status() throws(GuardedFailure) -> GuardedStatus {
        var found = stat()
        guard fstat(descriptor, &found) == 0 else { throw GuardedRoot.failure() }
        return GuardedStatus(found)
    }

    /// What stat(2) says about an entry, links not followed.
    package func status(of name: String) throws(GuardedFailure) -> GuardedStatus {
        var found = stat()
        guard fstatat(descriptor, name, &found, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0 else {
            throw GuardedRoot.failure()
        }
        return GuardedStatus(found)
    }

    /// A folder in this one.
    package func folder(_ name: String) throws(GuardedFailure) -> GuardedFolder {
        try GuardedFolder(taking: openEntry(name, O_PATH | O_DIRECTORY | O_NOFOLLOW), owners: owners)
    }

    /// A regular file in this folder, of one of the owners.
    package func file(_ name: String) throws(GuardedFailure) -> GuardedFile {
        let place = try GuardedPlace(taking: openEntry(name, O_PATH | O_NOFOLLOW))
        return try GuardedFile(reopening: place, owners: owners)
    }

    /// The whole of a regular file in this folder.
    package func contents(_ name: String, limitBytes: Int) throws(GuardedFailure) -> [UInt8] {
        let file = try file(name)
        guard file.status.sizeBytes <= Int64(limitBytes) else { throw .tooLarge(limitBytes: limitBytes) }
        let bytes = try file.read(from: 0, limitBytes: limitBytes + 1)
        guard bytes.count <= limitBytes else { throw .tooLarge(limitBytes: limitBytes) }
        return bytes
    }

    /// Calls `body` with the names of its entries, at most `limit`, until it returns false.
    ///
    /// - Returns: whether all were seen.
    @discardableResult
    package func forEachName(
        limit: Int = Self.entryLimit, _ body: (String) -> Bool
    ) throws(GuardedFailure) -> Bool {
        // The descriptor is an O_PATH one, which cannot be read.
        let readable = openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard readable >= 0 else { throw GuardedRoot.failure() }
        guard let stream = fdopendir(readable) else {
            let failure = GuardedRoot.failure()
            close(readable)
            throw failure
        }
        defer { closedir(stream) }
        var seen = 0
        while let entry = readdir(stream) {
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return false }
            let bytes = (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self)
            let name = String(cString: bytes)
            if name == "." || name == ".." { continue }
            guard seen < limit else { return false }
            seen += 1
            guard body(name) else { return true }
        }
        return true
    }

    private func openEntry(_ name: String, _ flags: Int32) throws(GuardedFailure) -> Int32 {
        guard !name.isEmpty, name != ".", name != "..", !name.utf8.contains(UInt8(ascii: "/")),
            !name.utf8.contains(0)
        else { throw .wrongKind }
        let opened = openat(descriptor, name, flags | O_CLOEXEC)
        guard opened >= 0 else { throw GuardedRoot.failure() }
        return opened
    }
}

extension GuardedStatus {
    init(_ found: stat) {
        self.init(
            device: UInt64(found.st_dev), inode: UInt64(found.st_ino), sizeBytes: Int64(found.st_size),
            modifiedAt: Int64(found.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(found.st_mtim.tv_nsec),
            uid: found.st_uid, isFile: found.st_mode & S_IFMT == S_IFREG,
            isFolder: found.st_mode & S_IFMT == S_IFDIR)
    }
}
