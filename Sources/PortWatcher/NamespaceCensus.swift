import ProcFS

/// Knows which process lives in which network namespace, so that a wake-up looks only at processes not seen before.
struct NamespaceCensus {
    /// Processes that are looked at; beyond them no namespace counts as gone.
    static let processLimit = 65_536
    /// A process that was first seen more recently is looked at again: `ip netns exec` and container runtimes move one into
    /// its namespace shortly after making it. One that moves later is noticed by the next verifying scan.
    static let youth: Duration = .seconds(2)

    private struct Entry {
        /// 0 if it may not be looked at.
        var namespace: UInt64
        var firstSeen: SuspendingClock.Instant
    }

    private var entries: [Int32: Entry] = [:]
    /// Where namespaces are mounted; read anew by verifying scans.
    private(set) var mounts: [UInt64: String] = [:]
    private var didReadMounts = false
    /// The processes of each namespace, ascending.
    private(set) var processes: [UInt64: [Int32]] = [:]
    /// All processes, ascending.
    private(set) var pids: [Int32] = []
    /// Whether a namespace without processes and mounts is gone.
    private(set) var isComplete = false

    /// Every namespace that exists.
    var namespaces: Set<UInt64> { Set(processes.keys).union(mounts.keys) }

    /// Looks at the processes again; at all of them and at the mounts when `verifying`.
    mutating func update(
        procfs: ProcFileSystem, own: UInt64, at now: SuspendingClock.Instant, verifying: Bool
    ) {
        isComplete = true
        if verifying || !didReadMounts { readMounts(procfs) }
        guard let all = try? procfs.processes() else {
            isComplete = false
            return
        }
        if all.count > Self.processLimit { isComplete = false }
        pids = Array(all.suffix(Self.processLimit))
        var current: [Int32: Entry] = [:]
        current.reserveCapacity(pids.count)
        processes.removeAll(keepingCapacity: true)
        for pid in pids {
            let old = entries[pid]
            var entry = old ?? Entry(namespace: 0, firstSeen: now)
            if verifying || old == nil || entry.firstSeen.duration(to: now) < Self.youth {
                do throws(ProcFSError) {
                    guard let namespace = try procfs.namespace(.network, of: pid) else { continue }
                    entry.namespace = namespace
                } catch {
                    entry.namespace = 0
                }
            }
            current[pid] = entry
            // The daemon's own needs no way in.
            if entry.namespace != 0, entry.namespace != own {
                processes[entry.namespace, default: []].append(pid)
            }
        }
        entries = current
    }

    /// Makes the next update look at the process again.
    mutating func forget(_ pid: Int32) { entries[pid] = nil }

    private mutating func readMounts(_ procfs: ProcFileSystem) {
        do throws(ProcFSError) {
            let mounted = try procfs.mountedNetworkNamespaces()
            mounts = Dictionary(mounted.map { ($0.inode, $0.path) }, uniquingKeysWith: { first, _ in first })
            didReadMounts = true
        } catch {
            // The mounts known so far stay; a recorded tree has none.
            if error.cause == .notFound { didReadMounts = true } else { isComplete = false }
        }
    }
}
