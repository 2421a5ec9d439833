package import ProcFS

/// What a process of the workspace is to idle detection.
enum ProcessRole: Hashable {
    /// A Claude: the Claude probe's.
    case claude
    /// What Claude runs beside itself for as long as it lives (MCP servers, language servers): no sign of work.
    case claudeHelper
    /// What a Claude runs as a tool; the id of that Claude's signal.
    case tool(of: String)
    /// The same when that Claude is gone, or nobody knows which it was.
    case orphan
    /// Another agent or what it runs; its first process.
    case agent(root: Int32)
    /// A shell that waits for a person, or for what it runs for them.
    case shell
    /// Part of the machine's furniture, or another probe's.
    case ignored
    /// Everything else.
    case job
}

/// Tells the workspace's processes apart, and when they made progress, once for all probes that go by it. Remembers
/// what it found out; lives on the monitor's own thread.
package final class ProcessRoles {
    /// Ancestors that are looked at.
    static let ancestorLimit = 64
    /// How often it is read how many bytes processes have moved.
    static let ioInterval: Duration = .seconds(30)

    private struct Known {
        var startTime: UInt64
        var name: String
        var traits: ProcessTraits
        /// Whether the environment could not be read, and has to be tried again.
        var isUnread = false
        /// Once a tool, always one, even when nothing shows it any more: parents die, environments are overwritten.
        var isTool = false
        /// The Claude that it was seen to work for.
        var claude: String?
    }

    /// Where a process comes from.
    private enum Origin: Equatable { case elsewhere, helper, tool(String?) }

    let catalogue: ProcessCatalogue
    private let procfs: ProcFileSystem
    private var buffer = ReadBuffer()
    private var known: [Int32: Known] = [:]
    private var lastContext: (at: Moment, claude: [Int32: String])?
    private var context = LookContext(now: .boot, processes: ProcessTable(at: .boot))
    private var origins: [Int32: Origin] = [:]
    private var claudeNumbers: [String: (own: Int32, namespace: UInt64?)] = [:]

    private var meter: ProgressMeter<ProcessGroup>
    private var lastIO: Moment?

    /// The processes of each group at the last `update`, ended ones included.
    private(set) var groups: [ProcessGroup: [Int32]] = [:]
    /// The roles of the workspace's processes then.
    private(set) var roles: [Int32: ProcessRole] = [:]
    /// Processes whose environment could not be read: how many, and why for one of them.
    private(set) var unreadable: (count: Int, reason: String)?

    package init(
        procfs: ProcFileSystem, catalogue: ProcessCatalogue = ProcessCatalogue(),
        floor: ProgressFloor = ProgressFloor()
    ) {
        self.procfs = procfs
        self.catalogue = catalogue
        meter = ProgressMeter(floor: floor)
    }

    /// Assigns every process of the workspace its role; costs nothing when nothing is new.
    func update(_ context: LookContext) {
        if let lastContext, lastContext.at == context.processes.at, lastContext.claude == context.claude {
            return
        }
        lastContext = (context.processes.at, context.claude)
        self.context = context
        origins.removeAll(keepingCapacity: true)
        roles.removeAll(keepingCapacity: true)
        unreadable = nil
        claudeNumbers = claudeNumbers.filter { isAlive($0.key) }
        let workspace = context.processes.entries.values.filter {
            $0.isWorkspace && context.claude[$0.pid] == nil
        }
        for entry in workspace { learn(entry) }
        for entry in workspace { _ = origin(of: entry, depth: 0) }
        adoptSessions(workspace)
        for entry in workspace { remember(entry) }
        for entry in workspace { roles[entry.pid] = role(of: entry) }
        for pid in context.claude.keys where context.processes.entries[pid]?.isWorkspace == true {
            roles[pid] = .claude
        }
        known = known.filter { context.processes.entries[$0.key]?.startTime == $0.value.startTime }
        measure(context.processes)
        self.context.processes.entries = [:]
    }

    /// When a group last made progress; nil: not since it is watched.
    func lastProgress(of group: ProcessGroup) -> Moment? { meter.lastProgress(of: group) }

    /// What is known of a process; nil for one that has no role.
    func traits(of pid: Int32) -> ProcessTraits? { known[pid]?.traits }

    private func measure(_ table: ProcessTable) {
        groups.removeAll(keepingCapacity: true)
        var others: [Int32] = []
        for (pid, role) in roles {
            guard let entry = table.entries[pid] else { continue }
            if let group = Self.group(of: entry, role) {
                groups[group, default: []].append(pid)
            } else {
                others.append(pid)
            }
        }
        let isIODue = lastIO.map { table.at - $0 >= Self.ioInterval } ?? true
        if isIODue { lastIO = table.at }
        meter.feed(
            table, members: groups, others: others,
            ioBytes: { pid in
                guard isIODue, let io = try? procfs.processIO(of: pid, buffer: &buffer) else { return nil }
                return io.total
            })
    }

    private static func group(of entry: ProcessEntry, _ role: ProcessRole) -> ProcessGroup? {
        switch role {
        case .tool, .orphan: .tool(session: entry.session)
        case .agent(let root): .agent(root: root)
        case .job, .shell: .job(cgroup: entry.cgroup, session: entry.session)
        case .claude, .claudeHelper, .ignored: nil
        }
    }

    // MARK: - One process

    /// Reads arguments and environment, once for each program that the process becomes.
    private func learn(_ entry: ProcessEntry) {
        let old = known[entry.pid].flatMap { $0.startTime == entry.startTime ? $0 : nil }
        // Of one that has ended there is nothing left to read.
        if let old, old.name == entry.name && !old.isUnread || entry.isZombie { return }
        var variables: [String?] = []
        var isUnread = false
        do throws(ProcFSError) {
            variables = try procfs.environment(of: entry.pid, ProcessTraits.variables, buffer: &buffer) ?? []
        } catch {
            isUnread = true
            unreadable = ((unreadable?.count ?? 0) + 1, unreadable?.reason ?? "\(error)")
        }
        let command = (try? procfs.commandLine(of: entry.pid)) ?? []
        let traits = ProcessTraits(
            name: entry.name, command: command, variables: variables, catalogue: catalogue)
        known[entry.pid] = Known(
            startTime: entry.startTime, name: entry.name, traits: traits, isUnread: isUnread,
            isTool: old?.isTool ?? false,
            claude: old?.claude)
    }

    private func remember(_ entry: ProcessEntry) {
        guard case .tool(let claude)? = origins[entry.pid] else { return }
        known[entry.pid]?.isTool = true
        if let claude { known[entry.pid]?.claude = claude }
    }

    private func role(of entry: ProcessEntry) -> ProcessRole {
        switch origins[entry.pid] ?? .elsewhere {
        case .helper: return .claudeHelper
        case .tool(let claude?) where isAlive(claude): return .tool(of: claude)
        case .tool: return .orphan
        case .elsewhere: break
        }
        if let root = agentRoot(of: entry) { return .agent(root: root) }
        guard let traits = known[entry.pid]?.traits else { return .job }
        if traits.isIgnored || traits.isTransfer { return .ignored }
        return traits.isInteractive ? .shell : .job
    }

    private func isAlive(_ claude: String) -> Bool { context.claude.values.contains(claude) }

    /// The outermost agent that the process is or descends from.
    private func agentRoot(of entry: ProcessEntry) -> Int32? {
        var root: Int32?
        var current: ProcessEntry? = entry
        for _ in 0..<Self.ancestorLimit {
            guard let process = current, process.isWorkspace, context.claude[process.pid] == nil else {
                break
            }
            if known[process.pid]?.traits.agent != nil { root = process.pid }
            current = context.processes.entries[process.parent]
        }
        return root
    }

    // MARK: - Claude's

    /// Evidence in this order: what the parent is; what was found out before; Claude's marker in the environment.
    private func origin(of entry: ProcessEntry, depth: Int) -> Origin {
        if let found = origins[entry.pid] { return found }
        var origin = Origin.elsewhere
        if let claude = context.claude[entry.parent] {
            // Claude gives each tool a session of its own, while what it runs beside itself shares Claude's.
            let session = context.processes.entries[entry.parent]?.session
            origin =
                entry.session != session || isMarked(entry.pid, by: entry.parent) ? .tool(claude) : .helper
        } else if depth < Self.ancestorLimit, let parent = context.processes.entries[entry.parent],
            parent.isWorkspace
        {
            origin = self.origin(of: parent, depth: depth + 1)
        }
        if origin == .elsewhere, let known = known[entry.pid] {
            if known.isTool {
                origin = .tool(known.claude)
            } else if let marker = known.traits.marker {
                origin = .tool(claude(of: marker, in: entry))
            }
        }
        origins[entry.pid] = origin
        return origin
    }

    /// Whether a child's marker is from this very Claude, not handed down through it from one that it runs under.
    private func isMarked(_ pid: Int32, by claude: Int32) -> Bool {
        guard let marker = known[pid]?.traits.marker else { return false }
        guard let number = marker.pid else {
            // Older versions do not say which: it is this one's unless it was there before.
            let above = try? procfs.environment(of: claude, ProcessTraits.variables, buffer: &buffer)
            return above?.first != "1"
        }
        return number == self.number(of: claude).own
    }

    /// The live Claude that a marker names: the same pid in the same pid namespace, and older than what it started.
    private func claude(of marker: ProcessTraits.ClaudeMarker, in entry: ProcessEntry) -> String? {
        guard let number = marker.pid else { return nil }
        let namespace = (try? procfs.namespace(.process, of: entry.pid)) ?? nil
        for (pid, claude) in context.claude {
            let candidate = self.number(of: pid)
            guard candidate.own == number, candidate.namespace == namespace || pid == number,
                let start = context.processes.entries[pid]?.startTime, start <= entry.startTime
            else { continue }
            return claude
        }
        return nil
    }

    /// A Claude's pid as it sees itself, and its pid namespace.
    private func number(of claude: Int32) -> (own: Int32, namespace: UInt64?) {
        let id = context.claude[claude] ?? ""
        if let found = claudeNumbers[id] { return found }
        let own = ((try? procfs.namespacePIDs(of: claude, buffer: &buffer)) ?? nil)?.last ?? claude
        let found = (own, (try? procfs.namespace(.process, of: claude)) ?? nil)
        claudeNumbers[id] = found
        return found
    }

    /// Processes that share the session of a tool are its own, whatever their environment says (`env -i`, `sudo`). Only
    /// sessions count that a tool leads, or led, without a terminal: not the one that a person's shell leads.
    private func adoptSessions(_ workspace: [ProcessEntry]) {
        var sessions: [Int32: Origin] = [:]
        for entry in workspace where entry.terminal == 0 && entry.session > 0 {
            guard let origin = origins[entry.pid], case .tool = origin else { continue }
            let leader = context.processes.entries[entry.session]
            guard leader == nil || origins[entry.session] == origin else { continue }
            sessions[entry.session] = origin
        }
        guard !sessions.isEmpty else { return }
        for entry in workspace where origins[entry.pid] == .elsewhere {
            if let origin = sessions[entry.session] { origins[entry.pid] = origin }
        }
    }
}
