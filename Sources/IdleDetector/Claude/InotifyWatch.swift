import CLinux
import Glibc

/// Tells that something in one of several folders changed, as a descriptor that becomes readable (inotify(7)).
///
/// Which file changed is not told: whoever is woken looks at all.
package final class InotifyWatch {
    /// Folders that are watched.
    package static let folderLimit = 512
    /// Bytes of one read of events, and reads of one draining.
    private static let readBytes = 16 << 10
    private static let readLimit = 64

    /// Readable when something changed; poll(2) it for POLLIN.
    package let descriptor: Int32
    /// How many users each watch has, by watch descriptor.
    private var users: [Int32: Int] = [:]

    package init() throws(ProbeFailure) {
        descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
        guard descriptor >= 0 else {
            throw ProbeFailure(
                "inotify_init1: \(String(cString: strerror(errno)))",
                hint: "raise fs.inotify.max_user_instances")
        }
    }

    deinit { close(descriptor) }

    /// Watches a folder for files that were written, moved into it or removed from it. Each call for the same folder
    /// counts.
    ///
    /// - Returns: what `release` is given; nil if the kernel or the bound refuses it.
    func watch(_ folder: borrowing GuardedFolder) -> Int32? {
        guard users.count < Self.folderLimit else { return nil }
        let events = UInt32(IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR)
        let watch = inotify_add_watch(descriptor, folder.ownPath, events)
        guard watch >= 0 else { return nil }
        users[watch, default: 0] += 1
        return watch
    }

    /// Takes one use back; the watch ends with the last one.
    func release(_ watch: Int32) {
        guard let count = users[watch] else { return }
        users[watch] = count > 1 ? count - 1 : nil
        if count == 1 { inotify_rm_watch(descriptor, watch) }
    }

    /// Reads away what is pending.
    ///
    /// - Returns: the watches whose folders are gone.
    func drain() -> Set<Int32> {
        var gone: Set<Int32> = []
        withUnsafeTemporaryAllocation(
            byteCount: Self.readBytes, alignment: MemoryLayout<inotify_event>.alignment
        ) {
            memory in
            for _ in 0..<Self.readLimit {
                let got = read(descriptor, memory.baseAddress, memory.count)
                guard got > 0 else { return }
                var offset = 0
                while offset + MemoryLayout<inotify_event>.size <= got {
                    let event = memory.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
                    if event.mask & UInt32(IN_IGNORED) != 0, users.removeValue(forKey: event.wd) != nil {
                        gone.insert(event.wd)
                    }
                    offset += MemoryLayout<inotify_event>.size + Int(event.len)
                }
            }
        }
        return gone
    }

    /// How many folders are watched.
    var folderCount: Int { users.count }
}
