import CLinux
import Glibc
import ProcFS

/// One walk through a tree of folders that others own and may change meanwhile: no symbolic link is followed, no other mount
/// entered, no file opened. It goes on where it stopped.
struct FolderWalk {
    /// Folders within folders.
    static let depthLimit = 32
    /// Entries of one tree.
    static let entryLimit = 200_000
    /// Bytes of entries that one getdents64(2) gives; the walk can stop after each.
    private static let bufferBytes = 32 << 10
    /// Entries of a changed folder that are looked at to name the newest.
    private static let namingLimit = 4096

    /// Closed with its last copy.
    private final class OpenFolder {
        let descriptor: Int32
        init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(descriptor) }
    }

    /// What the walk came to.
    struct Result {
        /// The first folder that differs from the last walk, and its newest file.
        var change: String?
        /// Folders or entries that could not be looked at, and why for one of them.
        var unreadable: (count: Int, example: String)?
        var isTooDeep = false
        var isTooLarge = false
        /// The tree was left before its end.
        var isWhole: Bool { !isTooLarge && unreadable == nil }
    }

    private let root: OpenFolder
    private var current: OpenFolder?
    private var key: UInt64 = 0
    private var sum: UInt64 = 0
    private var depth = 0
    /// The current folder's path below the root, and where that of the folder of each depth ends.
    private var path: [UInt8] = []
    private var ends: [Int] = [0]
    /// Folders still to be looked at: name, its length, depth and key, the last one on top.
    private var pending: [UInt8] = []
    private var entryCount = 0
    private(set) var result = Result()

    /// - Throws: `Errno` if the root cannot be opened: ENOENT, ELOOP for a symbolic link in its path, ENOTDIR …
    init(root path: String) throws(Errno) {
        let descriptor = samd_open_folder(AT_FDCWD, path, false)
        guard descriptor >= 0 else { throw Errno.current }
        root = OpenFolder(descriptor)
        current = root
    }

    /// Goes on.
    ///
    /// - Parameter mayGoOn: asked with the number of entries so far, about every 1,000 of them.
    /// - Returns: whether the walk is at its end.
    mutating func advance(
        _ prints: inout FolderPrints, _ excludes: FileExcludes, mayGoOn: (Int) -> Bool
    ) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: Self.bufferBytes, alignment: 8) { buffer in
            var count = 0
            while mayGoOn(count) {
                guard current != nil || openNext() else { return true }
                count += readOn(into: buffer, &prints, excludes)
                if result.isTooLarge { return true }
            }
            return false
        }
    }

    /// Reads one buffer of the current folder; at its end compares it.
    private mutating func readOn(
        into buffer: UnsafeMutableRawBufferPointer, _ prints: inout FolderPrints, _ excludes: FileExcludes
    ) -> Int {
        guard let folder = current else { return 0 }
        let length = samd_read_folder(folder.descriptor, buffer.baseAddress, UInt32(buffer.count))
        guard length > 0 else {
            current = nil
            // A folder that was removed while it was open reads as ENOENT.
            if length < 0, errno != ENOENT {
                note(Errno.current)
            } else if length == 0, prints.record(key: key, print: sum) == .changed, result.change == nil {
                result.change = describeChange(in: folder, buffer, excludes)
            }
            return 1
        }
        var count = 0
        Self.forEachEntry(UnsafeRawBufferPointer(rebasing: buffer[..<Int(length)])) { name in
            count += 1
            let hash = Mixing.hash(name)
            guard !excludes.contains(name, hash: hash) else { return }
            add(name, hash: hash, in: folder)
        }
        entryCount += count
        // The folder that was cut off is not compared, as it is not whole.
        if entryCount > Self.entryLimit { result.isTooLarge = true }
        return count
    }

    private mutating func add(_ name: UnsafeRawBufferPointer, hash: UInt64, in folder: OpenFolder) {
        var status = samd_file_status()
        let start = name.baseAddress?.assumingMemoryBound(to: CChar.self)
        guard samd_file_status(folder.descriptor, start, false, &status) == 0 else {
            if errno != ENOENT { note(Errno.current) }
            return
        }
        var print = Mixing.join(Mixing.join(hash, status.inode), UInt64(status.mode & S_IFMT))
        switch status.mode & S_IFMT {
        case S_IFDIR:
            // Its times move with what is excluded in it; what is not is compared in its turn.
            if !status.is_mount_point { push(name, key: Mixing.join(key, hash)) }
        case S_IFREG, S_IFLNK:
            print = Mixing.join(print, status.size)
            print = Mixing.join(print, UInt64(bitPattern: status.modified))
            print = Mixing.join(print, UInt64(bitPattern: status.changed))
        // What flows through a FIFO moves its times.
        default: break
        }
        sum &+= Mixing.join(print, 0)
    }

    private mutating func push(_ name: UnsafeRawBufferPointer, key: UInt64) {
        guard depth < Self.depthLimit, name.count <= UInt8.max else {
            result.isTooDeep = true
            return
        }
        pending.append(contentsOf: name)
        pending.append(UInt8(name.count))
        pending.append(UInt8(depth + 1))
        withUnsafeBytes(of: key) { pending.append(contentsOf: $0) }
    }

    /// Opens the next folder that can be opened; false: there is none.
    private mutating func openNext() -> Bool {
        while !pending.isEmpty {
            pop()
            let descriptor = path.withUnsafeBufferPointer { bytes in
                bytes.withMemoryRebound(to: CChar.self) {
                    samd_open_folder(root.descriptor, $0.baseAddress, true)
                }
            }
            path.removeLast()
            if descriptor >= 0 {
                current = OpenFolder(descriptor)
                return true
            }
            switch errno {
            // Removed, or replaced by something that is no folder of this tree.
            case ENOENT, ENOTDIR, ELOOP, EXDEV: break
            case ENAMETOOLONG: result.isTooDeep = true
            default: note(Errno.current)
            }
        }
        return false
    }

    /// Makes the topmost pending folder the current one; its path ends with a zero.
    private mutating func pop() {
        let end = pending.count
        key = pending.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: end - 8, as: UInt64.self) }
        depth = Int(pending[end - 9])
        let name = (end - 10 - Int(pending[end - 10]))..<(end - 10)
        path.removeLast(path.count - ends[depth - 1])
        if depth > 1 { path.append(UInt8(ascii: "/")) }
        path.append(contentsOf: pending[name])
        if ends.count > depth { ends[depth] = path.count } else { ends.append(path.count) }
        path.append(0)
        pending.removeLast(end - name.lowerBound)
        sum = 0
    }

    private mutating func note(_ errno: Errno) {
        let place = HostileText.line(path, limitBytes: 128)
        result.unreadable = (
            (result.unreadable?.count ?? 0) + 1,
            result.unreadable?.example ?? "\(place.isEmpty ? "." : place): \(errno)"
        )
    }

    /// `src/app, newest there: main.swift`. What was removed cannot be named any more.
    private func describeChange(
        in folder: OpenFolder, _ buffer: UnsafeMutableRawBufferPointer, _ excludes: FileExcludes
    ) -> String {
        var newest: (name: String, changed: Int64)?
        var count = 0
        lseek(folder.descriptor, 0, SEEK_SET)
        while count < Self.namingLimit,
            case let length = samd_read_folder(folder.descriptor, buffer.baseAddress, UInt32(buffer.count)),
            length > 0
        {
            Self.forEachEntry(UnsafeRawBufferPointer(rebasing: buffer[..<Int(length)])) { name in
                count += 1
                var status = samd_file_status()
                let start = name.baseAddress?.assumingMemoryBound(to: CChar.self)
                guard !excludes.contains(name, hash: Mixing.hash(name)),
                    samd_file_status(folder.descriptor, start, false, &status) == 0,
                    status.changed > newest?.changed ?? Int64.min
                else { return }
                newest = (HostileText.line(name, limitBytes: 96), status.changed)
            }
        }
        let place = path.isEmpty ? "the folder itself" : HostileText.line(path, limitBytes: 192)
        return newest.map { "\(place), newest there: \($0.name)" } ?? place
    }

    /// Calls `body` with each name but `.` and `..`, as linux_dirent64 of getdents(2) has them: inode, offset, 16 bits of
    /// length, 8 of type, the name and its zero.
    private static func forEachEntry(
        _ entries: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void
    ) {
        guard let start = entries.baseAddress else { return }
        var offset = 0
        while offset + 20 <= entries.count {
            let length = Int(entries.loadUnaligned(fromByteOffset: offset + 16, as: UInt16.self))
            guard length >= 20, offset + length <= entries.count else { return }
            let name = start + offset + 19
            let count = strnlen(name.assumingMemoryBound(to: CChar.self), length - 19)
            offset += length
            let isDots = count <= 2 && memcmp(name, "..", count) == 0
            if !isDots { body(UnsafeRawBufferPointer(start: name, count: count)) }
        }
    }
}
