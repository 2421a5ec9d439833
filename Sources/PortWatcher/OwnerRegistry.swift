import ProcFS

/// Knows the processes behind the sockets, and what they leave behind when their sockets are gone.
///
/// Inodes of sockets are unique over all network namespaces, so that one walk over the processes serves all.
struct OwnerRegistry {
    /// Processes that one scan looks into for new owners, newest first: at 15 µs each, 0.3 s.
    static let processLimit = 20_000
    /// Descriptors that one scan looks at in all, about 1 µs each.
    static let descriptorLimit = 500_000
    /// Scans in a row that look for an owner who cannot be found; later only some of those that verify.
    static let attemptLimit = 3
    /// Looks into every process are dear (15 ms for 400), and the kernel's own listeners have no process: verifying scans
    /// look again at the first, second, fourth, … of them, and at each 16th.
    static let regularAttempts = 16
    /// Sockets that are gone and remembered.
    static let absentLimit = 4096
    /// Programs that start everything on a machine or in a container: that such a parent lives says nothing.
    private static let starters: Set<String> = ["systemd", "init", "containerd-shim", "conmon"]

    /// A process that holds a socket.
    struct Owner {
        var process: OwnerProcess
        /// Which of its descriptors is the socket.
        var descriptor: Int32
        var session: Int32
        /// The process that started it.
        var parent: (pid: Int32, startTime: UInt64)?
    }

    private enum State {
        case found(Owner)
        case unknown(attempts: Int, verifications: Int = 0)
    }

    private struct Entry {
        var state: State
        var place: PortScan.Place
        var absentSince: SuspendingClock.Instant?
    }

    private let procfs: ProcFileSystem
    private let restartDelay: Duration
    private var entries: [UInt64: Entry] = [:]
    private var lastWalkWasDenied = false

    init(procfs: ProcFileSystem, restartDelay: Duration) {
        self.procfs = procfs
        self.restartDelay = restartDelay
    }

    /// The process behind a socket, as far as the last update found it.
    func owner(of inode: UInt64) -> Owner? {
        if case .found(let owner) = entries[inode]?.state { owner } else { nil }
    }

    /// All processes that are behind a socket.
    func owners() -> Set<Int32> {
        Set(
            entries.values.compactMap { entry in
                if case .found(let owner) = entry.state { owner.process.pid } else { nil }
            })
    }

    /// Takes in the sockets that listen now.
    ///
    /// - Parameters:
    ///   - pids: all processes, ascending.
    ///   - verifying: look again at the owners of known sockets, and for those not found so far.
    ///   - absence: what it says that a socket of this place is not among `sockets`.
    /// - Returns: whether some process may not be looked at.
    mutating func update(
        sockets: [UInt64: PortScan.Place], pids: [Int32], at now: SuspendingClock.Instant, verifying: Bool,
        absence: (PortScan.Place) -> PortScan.Absence
    ) -> Bool {
        retire(sockets: sockets, at: now, absence: absence)
        if verifying { forgetFormerOwners() }
        var wanted: Set<UInt64> = []
        for (inode, place) in sockets where inode != 0 {
            entries[inode]?.absentSince = nil
            switch entries[inode]?.state {
            case nil: entries[inode] = Entry(state: .unknown(attempts: 0), place: place)
            case .found: continue
            case .unknown(let attempts, let verifications):
                if verifying {
                    let count = verifications + 1
                    entries[inode]?.state = .unknown(attempts: attempts, verifications: count)
                    guard
                        attempts < Self.attemptLimit || count & (count - 1) == 0
                            || count % Self.regularAttempts == 0
                    else { continue }
                } else if attempts >= Self.attemptLimit {
                    continue
                }
            }
            wanted.insert(inode)
        }
        guard !wanted.isEmpty else { return lastWalkWasDenied }
        lastWalkWasDenied = findOwners(of: wanted, among: pids)
        return lastWalkWasDenied
    }

    /// The sockets that are gone, but whose process lives, or was started by one that starts such processes again.
    func mayReturn() -> Set<UInt64> {
        var likely: Set<UInt64> = []
        var answers: [Int32: Bool] = [:]
        for (inode, entry) in entries where entry.absentSince != nil {
            guard case .found(let owner) = entry.state else { continue }
            let isLikely = answers[owner.process.pid] ?? (isAlive(owner) || hasSupervisor(owner))
            answers[owner.process.pid] = isLikely
            if isLikely { likely.insert(inode) }
        }
        return likely
    }

    private func isAlive(_ owner: Owner) -> Bool {
        guard let stat = try? procfs.processStat(of: owner.process.pid) else { return false }
        return stat.startTime == owner.process.startTime && !stat.isZombie
    }

    /// Whether whoever started the process lives on in the same session without leading it: nodemon, npm, a script. A shell
    /// that a person types into leads its session.
    private func hasSupervisor(_ owner: Owner) -> Bool {
        guard let parent = owner.parent, parent.pid > 1,
            let stat = try? procfs.processStat(of: parent.pid), stat.startTime == parent.startTime,
            !stat.isZombie,
            stat.session == owner.session, stat.session != parent.pid
        else { return false }
        return !Self.starters.contains((try? procfs.executableName(of: parent.pid)) ?? "")
    }

    /// Marks the sockets that are gone, and forgets them after a while.
    private mutating func retire(
        sockets: [UInt64: PortScan.Place], at now: SuspendingClock.Instant,
        absence: (PortScan.Place) -> PortScan.Absence
    ) {
        var absentCount = 0
        for (inode, entry) in entries where sockets[inode] == nil {
            switch absence(entry.place) {
            // It would look new the next time.
            case .unproven: continue
            case .namespaceGone: entries[inode] = nil
            case .absent:
                let since = entry.absentSince ?? now
                absentCount += 1
                if since.duration(to: now) > restartDelay || absentCount > Self.absentLimit {
                    entries[inode] = nil
                } else if case .found = entry.state {
                    entries[inode]?.absentSince = since
                } else {
                    entries[inode] = nil
                }
            }
        }
    }

    /// Drops owners that ended or closed the socket; it lives on in another process then.
    private mutating func forgetFormerOwners() {
        var alive: [Int32: Bool] = [:]
        var checks = Self.descriptorLimit
        for (inode, entry) in entries where entry.absentSince == nil {
            guard case .found(let owner) = entry.state, checks > 0 else { continue }
            checks -= 1
            let pid = owner.process.pid
            let isAlive = alive[pid] ?? ((try? procfs.startTime(of: pid)) == owner.process.startTime)
            alive[pid] = isAlive
            if isAlive, procfs.holds(pid, descriptor: owner.descriptor, socket: inode) { continue }
            entries[inode]?.state = .unknown(attempts: 0)
        }
    }

    /// Walks the processes downwards and stops at the last missing socket: a server that just came up is among the newest
    /// processes.
    private mutating func findOwners(of inodes: Set<UInt64>, among pids: [Int32]) -> Bool {
        var missing = inodes
        var wereDenied = false
        var budget = Self.descriptorLimit
        for pid in pids.reversed().prefix(Self.processLimit) {
            guard !missing.isEmpty, budget > 0 else { break }
            do throws(ProcFSError) {
                guard let held = try procfs.sockets(of: pid, budget: &budget) else { continue }
                let mine = held.filter { missing.contains($0.key) }
                guard !mine.isEmpty, let owner = describe(pid) else { continue }
                for (inode, descriptor) in mine {
                    var owner = owner
                    owner.descriptor = descriptor
                    entries[inode]?.state = .found(owner)
                    missing.remove(inode)
                }
            } catch {
                if case .denied = error.cause { wereDenied = true }
            }
        }
        for inode in missing {
            if case .unknown(let attempts, let verifications) = entries[inode]?.state {
                entries[inode]?.state = .unknown(attempts: attempts + 1, verifications: verifications)
            }
        }
        return wereDenied && !missing.isEmpty
    }

    /// What can be read of a process; `nil` if it is gone.
    private func describe(_ pid: Int32) -> Owner? {
        guard let stat = try? procfs.processStat(of: pid) else { return nil }
        let process = OwnerProcess(
            pid: pid, startTime: stat.startTime, command: (try? procfs.commandLine(of: pid)) ?? [],
            executable: (try? procfs.executableName(of: pid)) ?? "",
            cwd: try? procfs.workingDirectory(of: pid), cgroup: try? procfs.controlGroup(of: pid))
        let parentStart = stat.parent > 1 ? try? procfs.startTime(of: stat.parent) : nil
        return Owner(
            process: process, descriptor: -1, session: stat.session,
            parent: parentStart.map { (stat.parent, $0) })
    }
}
