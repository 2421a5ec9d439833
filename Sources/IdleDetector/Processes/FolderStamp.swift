import Glibc

/// What a folder with all that is in it looked like: another value means that something changed, whatever the times
/// say.
struct FolderStamp: Equatable, Sendable {
    /// Entries of a folder tree that are looked at.
    static let entryLimit = 2000
    /// Folders below folders that are looked at.
    static let depthLimit = 4

    var entryCount = 0
    /// Bytes of all regular files.
    var bytes: UInt64 = 0
    /// The latest change of anything there, in nanoseconds: compared, never trusted.
    var latestChange: Int64 = 0

    /// Looks at a folder below a process's HOME, as the process sees its files; nil: there is none, or it is not looked
    /// at.
    ///
    /// All of it is under the process's control. From its root on, every part of the path is opened by itself and must
    /// be a folder, no link, so that nothing leads out of what the process itself sees; no file is opened at all.
    ///
    /// - Parameter root: the process's root: `/proc/PID/root`.
    init?(root: String, home: String, folder: String) {
        guard home.hasPrefix("/"), home.utf8.count < Int(PATH_MAX) else { return nil }
        var current = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC)
        guard current >= 0 else { return nil }
        for part in "\(home)/\(folder)".split(separator: "/") where part != "." {
            let next =
                part == ".."
                ? -1 : openat(current, String(part), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            close(current)
            guard next >= 0 else { return nil }
            current = next
        }
        add(current, depth: 0)
    }

    /// Takes the descriptor over.
    private mutating func add(_ folder: Int32, depth: Int) {
        guard let stream = fdopendir(folder) else {
            close(folder)
            return
        }
        defer { closedir(stream) }
        guard let nameOffset = MemoryLayout<dirent>.offset(of: \.d_name) else { return }
        while entryCount < Self.entryLimit, let entry = readdir(stream) {
            let name = (UnsafeRawPointer(entry) + nameOffset).assumingMemoryBound(to: CChar.self)
            if strcmp(name, ".") == 0 || strcmp(name, "..") == 0 { continue }
            var status = stat()
            guard fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
            entryCount += 1
            let kind = status.st_mode & S_IFMT
            if kind == S_IFREG { bytes &+= UInt64(max(0, status.st_size)) }
            let change = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
            latestChange = max(latestChange, change)
            guard kind == S_IFDIR, depth < Self.depthLimit else { continue }
            let next = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            if next >= 0 { add(next, depth: depth + 1) }
        }
    }
}
