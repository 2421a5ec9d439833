import CLinux
import Glibc

/// Descriptors that become readable when a process ends (pidfd_open(2)). Confined to one thread.
struct ProcessEnds: ~Copyable {
    /// Processes that are watched; the others' end is seen with the next table.
    static let limit = 256

    private var descriptors: [Int32: Int32] = [:]

    init() {}

    deinit { for descriptor in descriptors.values { close(descriptor) } }

    /// What to poll.
    var readable: [Int32] { Array(descriptors.values) }

    /// Watches exactly these processes.
    mutating func watch(_ pids: some Collection<Int32>) {
        let wanted = Set(pids.prefix(Self.limit))
        for (pid, descriptor) in descriptors where !wanted.contains(pid) {
            close(descriptor)
            descriptors[pid] = nil
        }
        for pid in wanted where descriptors[pid] == nil {
            let descriptor = samd_pidfd_open(pid)
            if descriptor >= 0 { descriptors[pid] = descriptor }
        }
    }

    /// Forgets the processes whose descriptors became readable; true if there was one.
    mutating func forget(_ ended: Set<Int32>) -> Bool {
        let gone = descriptors.filter { ended.contains($0.value) }
        for (pid, descriptor) in gone {
            close(descriptor)
            descriptors[pid] = nil
        }
        return !gone.isEmpty
    }
}
