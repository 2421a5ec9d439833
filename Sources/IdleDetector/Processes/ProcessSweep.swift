package import Containers
import Glibc
package import ProcFS

/// Reads the machine's processes: one file for each and sweep; what does not change is remembered by pid and start
/// time.
///
/// Blocks for as long as the kernel takes; meant for the monitor's own thread.
package struct ProcessSweep {
    /// Processes that are looked at; those beyond, the youngest, are `unreadable`.
    package static let processLimit = 32_768
    /// A process younger than this may still become another user's or be put elsewhere: it is looked at anew.
    static let settling: Duration = .seconds(60)
    /// Known kernel threads are looked at again in every so-manieth sweep, for the case that their id was used again.
    static let kernelThreadRound = 4
    /// Ids given out before the last one whose processes may not have been seen yet: a fork takes its id early.
    private static let inFlight: Int32 = 64
    /// Bytes of a control group's path that are kept.
    static let controlGroupLimitBytes = 512

    /// What changes rarely or never.
    private struct Facts {
        var startTime: UInt64
        var name: ProcessName
        var text: String
        var uid: UInt32
        var cgroup: String
        var container: String?
        var isWorkspace: Bool
        var firstSeen: Moment
        var isSettled: Bool
    }

    /// The container that a pid namespace belongs to, for as long as processes live in it.
    private struct Place {
        var container: Container?
        var isUsed: Bool
    }

    private let procfs: ProcFileSystem
    private let isOwner: (UInt32) -> Bool
    private let ticksPerSecond: Int64
    private var containers: ContainerFinder
    private var ownNamespace: UInt64?
    private var facts: [Int32: Facts] = [:]
    private var kernelThreads: Set<Int32> = []
    private var places: [UInt64: Place] = [:]
    private var controlGroups: Set<String> = []
    private var pids: [Int32] = []
    private var buffer = ReadBuffer()
    private var round = 0
    /// The id given out last at the last sweep, and at the last look for newcomers.
    private var sweptLast: Int32?
    private var lookedLast: Int32?
    /// Where in the list of processes those begin that were started since the last sweep.
    private var mark: ProcessListMark?
    /// Whether a process may have got its id before the last look and could be seen only after it.
    private var mayHaveMissed = false
    /// Processes that `newcomers` has told of since the last sweep, by the names that it told.
    private var announced: [Int32: String] = [:]

    /// - Parameters:
    ///   - isOwner: whether a user is an owner of the workspace.
    package init(
        procfs: ProcFileSystem, containers: ContainerFinder, isOwner: @escaping @Sendable (UInt32) -> Bool,
        ticksPerSecond: Int = sysconf(Int32(_SC_CLK_TCK))
    ) {
        self.procfs = procfs
        self.containers = containers
        self.isOwner = isOwner
        self.ticksPerSecond = Int64(max(1, ticksPerSecond))
    }

    /// Every process but kernel threads, as it is now.
    ///
    /// - Throws: when not even the list of processes can be read.
    package mutating func table(at now: Moment) throws(ProbeFailure) -> ProcessTable {
        let last = try? procfs.lastProcess(buffer: &buffer)
        let beyond = try list(upTo: last)
        var table = ProcessTable(at: now)
        table.entries.reserveCapacity(pids.count - min(pids.count, kernelThreads.count))
        if beyond > 0 {
            table.unreadable = (
                beyond, "there are more than \(Self.processLimit) processes, and no more are looked at"
            )
        }
        begin()
        for pid in pids {
            if kernelThreads.contains(pid) { continue }
            do throws(ProcFSError) {
                guard let status = try procfs.processStatus(of: pid, buffer: &buffer), status.session >= 0
                else { continue }
                if status.isKernelThread {
                    kernelThreads.insert(pid)
                } else {
                    table.entries[pid] = try entry(pid, status, at: now)
                }
            } catch {
                table.unreadable = (
                    (table.unreadable?.count ?? 0) + 1, table.unreadable?.reason ?? "\(error)"
                )
            }
        }
        end(table, last: last)
        return table
    }

    private mutating func list(upTo last: Int32?) throws(ProbeFailure) -> Int {
        do throws(ProcFSError) {
            let listed = try procfs.listProcesses(
                into: &pids, limit: Self.processLimit, markingUpTo: (last ?? 0) - Self.inFlight)
            mark = listed.mark
            return listed.beyond
        } catch {
            throw ProbeFailure("the processes cannot be listed: \(error)", hint: error.hint)
        }
    }

    private mutating func begin() {
        round = (round + 1) % Self.kernelThreadRound
        if round == 0 { kernelThreads.removeAll(keepingCapacity: true) }
        for namespace in places.keys { places[namespace]?.isUsed = false }
    }

    private mutating func end(_ table: ProcessTable, last: Int32?) {
        sweptLast = last
        lookedLast = last
        mayHaveMissed = true
        announced.removeAll()
        for (pid, known) in facts where table.entries[pid]?.startTime != known.startTime { facts[pid] = nil }
        containers.forget { table.entries[$0] != nil }
        // Paths of control groups and of namespaces that are gone go at a time when they are many.
        if controlGroups.count > 256, controlGroups.count > 2 * facts.count {
            controlGroups = Set(facts.values.map(\.cgroup))
        }
        if places.count > 64 { places = places.filter { $0.value.isUsed } }
    }

    private mutating func entry(
        _ pid: Int32, _ status: ProcessStatus, at now: Moment
    ) throws(ProcFSError) -> ProcessEntry? {
        let known = facts[pid].flatMap { $0.startTime == status.startTime ? $0 : nil }
        let current: Facts
        // Of a process that has ended only what is known already can still be told.
        if let known, status.isZombie || known.isSettled && known.name == status.name {
            current = known
        } else {
            guard let found = try look(pid, status, firstSeen: known?.firstSeen ?? now, at: now) else {
                return nil
            }
            facts[pid] = found
            current = found
        }
        let childTicks = status.childUserTicks &+ status.childSystemTicks
        return ProcessEntry(
            pid: pid, parent: status.parent, group: status.group, session: status.session,
            terminal: status.terminal,
            foregroundGroup: status.foregroundGroup, startTime: status.startTime,
            cpuTicks: status.userTicks &+ status.systemTicks &+ childTicks, childTicks: childTicks,
            name: current.text,
            uid: current.uid, cgroup: current.cgroup, container: current.container,
            isWorkspace: current.isWorkspace,
            isZombie: status.isZombie)
    }

    /// `nil` if it is gone.
    private mutating func look(
        _ pid: Int32, _ status: ProcessStatus, firstSeen: Moment, at now: Moment
    ) throws(ProcFSError) -> Facts? {
        guard let uid = try procfs.users(of: pid)?.real,
            let cgroup = try procfs.controlGroups(of: pid).map({ intern($0.first ?? "/") })
        else { return nil }
        let container = try container(of: pid, status)
        let isWorkspace =
            if let container { container.creatorUID == 0 || isOwner(container.creatorUID) } else {
                isOwner(uid) || isLoginSession(cgroup)
            }
        let age = Duration.milliseconds(
            now.milliseconds - Int64(clamping: status.startTime) / ticksPerSecond * 1000)
        return Facts(
            startTime: status.startTime, name: status.name, text: status.name.description, uid: uid,
            cgroup: cgroup,
            container: container?.name, isWorkspace: isWorkspace, firstSeen: firstSeen,
            isSettled: age >= Self.settling || now - firstSeen >= Self.settling)
    }

    /// The container by the process's pid namespace, which it never leaves: the first process that is seen there, the
    /// oldest, speaks for all, so that not each of a build's thousand costs a look at its ancestors.
    private mutating func container(of pid: Int32, _ status: ProcessStatus) throws(ProcFSError) -> Container?
    {
        if ownNamespace == nil { ownNamespace = try procfs.namespace(.process, of: .own) }
        // One that has ended has no namespace any more.
        guard !status.isZombie, let namespace = try procfs.namespace(.process, of: pid),
            namespace != ownNamespace
        else {
            return nil
        }
        let place =
            places[namespace]
            ?? Place(
                container: containers.container(of: pid, startTime: status.startTime), isUsed: true)
        places[namespace] = Place(container: place.container, isUsed: true)
        return place.container
    }

    /// Whether it is in a login session of root's or of a workspace owner: `/user.slice/user-1000.slice/…` (whoever
    /// else may log in is nobody whose work counts).
    private func isLoginSession(_ cgroup: String) -> Bool {
        guard cgroup.hasPrefix("/user.slice/user-") else { return false }
        let rest = cgroup.dropFirst(17)
        guard let end = rest.firstRange(of: ".slice")?.lowerBound, let uid = UInt32(rest[..<end]) else {
            return false
        }
        return uid == 0 || isOwner(uid)
    }

    private mutating func intern(_ path: String) -> String {
        let bounded =
            path.utf8.count > Self.controlGroupLimitBytes
            ? String(decoding: path.utf8.prefix(Self.controlGroupLimitBytes), as: UTF8.self) : path
        return controlGroups.insert(bounded).memberAfterInsert
    }
}

extension ProcessSweep {
    /// A process that was not there at the last sweep.
    package struct Newcomer: Sendable, Equatable {
        package var pid: Int32
        /// The kernel's name of it (comm); it may still change, as a process is made before it is told what to run.
        package var name: String
    }

    /// The processes that were started since the last sweep and not yet told of, and young ones that have become something
    /// else since (execve(2) keeps the id: a shell becomes what it was to run). Cheap when there are none, since the kernel
    /// counts the ids that it gives out. Those that have ended meanwhile are left out.
    ///
    /// - Throws: when it cannot be told; the next sweep will see what there is.
    package mutating func newcomers() throws(ProbeFailure) -> [Newcomer] {
        guard let sweptLast, let previous = lookedLast else { return [] }
        do throws(ProcFSError) {
            let last = try procfs.lastProcess(buffer: &buffer)
            let isNothingNew = last == previous && !mayHaveMissed
            mayHaveMissed = last != previous
            lookedLast = last
            if isNothingNew {
                pids.removeAll(keepingCapacity: true)
            } else if let mark, last >= sweptLast {
                try procfs.listProcesses(into: &pids, limit: Self.processLimit, from: mark, upTo: last)
            } else {
                // The ids began again at the lowest, or it cannot be told.
                _ = try procfs.listProcesses(into: &pids, limit: Self.processLimit)
            }
        } catch {
            throw ProbeFailure("it cannot be told which processes were started: \(error)", hint: error.hint)
        }
        var found: [Newcomer] = []
        for (pid, name) in announced { tell(pid, unlessStill: name, &found) }
        for (pid, known) in facts where !known.isSettled && announced[pid] == nil {
            tell(pid, unlessStill: known.text, &found)
        }
        for pid in pids where facts[pid] == nil && !kernelThreads.contains(pid) && announced[pid] == nil {
            tell(pid, unlessStill: nil, &found)
        }
        return found
    }

    private mutating func tell(_ pid: Int32, unlessStill name: String?, _ found: inout [Newcomer]) {
        guard let current = try? procfs.executableName(of: pid), current != name else { return }
        announced[pid] = current
        found.append(Newcomer(pid: pid, name: current))
    }
}
