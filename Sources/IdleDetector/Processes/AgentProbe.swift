package import ProcFS

/// Coding agents other than Claude, by the catalogue's list: each with what it runs.
///
/// An agent makes progress while it or what it runs uses CPU or moves bytes above the floor, or while its files grow.
package struct AgentProbe: ActivityProbe {
    /// Agents that are reported and whose folders are looked at; of more, the ones with the lowest pids.
    package static let agentLimit = 64
    /// How often folders are looked at.
    static let folderInterval: Duration = .seconds(30)

    package let name = "agents"
    package let interval: Duration = .seconds(15)

    private struct Known {
        var id: String
        var since: Moment
        var home: String?
        var stamps: [String: FolderStamp] = [:]
        var hasLooked = false
        var filesChangedAt: Moment?
    }

    private let procfs: ProcFileSystem
    private let roles: ProcessRoles
    private let words: ProcessWords
    private var buffer = ReadBuffer()
    private var known: [Int32: Known] = [:]
    private var lastFolders: Moment?

    package init(
        procfs: ProcFileSystem, roles: ProcessRoles,
        userName: @escaping @Sendable (UInt32) -> String? = { _ in nil }
    ) {
        self.procfs = procfs
        self.roles = roles
        words = ProcessWords(userName: userName)
    }

    package mutating func look(_ context: LookContext) throws(ProbeFailure) -> ProbeFindings {
        roles.update(context)
        let looksAtFolders = lastFolders.map { context.now - $0 >= Self.folderInterval } ?? true
        if looksAtFolders { lastFolders = context.now }
        var agents: [(root: ProcessEntry, description: AgentDescription, processCount: Int)] = []
        for (group, pids) in roles.groups {
            guard case .agent(let pid) = group, let root = context.processes.entries[pid], !root.isZombie,
                let agent = roles.traits(of: pid)?.agent
            else { continue }
            agents.append((root, roles.catalogue.agents[agent], pids.count))
        }
        agents.sort { $0.root.pid < $1.root.pid }
        let beyond = max(0, agents.count - Self.agentLimit)
        agents.removeLast(beyond)
        var current: [Int32: Known] = [:]
        var signals: [Signal] = []
        for (root, description, count) in agents {
            var state = state(of: root, at: context.now)
            if looksAtFolders || !state.hasLooked {
                lookAtFolders(of: root.pid, description, &state, at: context.now)
            }
            current[root.pid] = state
            signals.append(signal(root, description, count, state))
        }
        known = current
        return ProbeFindings(
            signals: signals,
            blindSpot: beyond > 0
                ? "\(beyond) agents beyond the first \(Self.agentLimit) are not looked at" : nil)
    }

    private mutating func state(of root: ProcessEntry, at now: Moment) -> Known {
        let id = "agent:\(root.pid):\(root.startTime)"
        if let found = known[root.pid], found.id == id { return found }
        let home = (try? procfs.environment(of: root.pid, ["HOME"], buffer: &buffer))??.first
        return Known(id: id, since: now, home: home ?? nil)
    }

    private func lookAtFolders(
        of pid: Int32, _ description: AgentDescription, _ state: inout Known, at now: Moment
    ) {
        guard let home = state.home else { return }
        var stamps: [String: FolderStamp] = [:]
        for folder in description.folders {
            stamps[folder] = FolderStamp(root: "\(procfs.root)/\(pid)/root", home: home, folder: folder)
        }
        // What was there before the agent is seen tells nothing.
        if state.hasLooked, stamps != state.stamps { state.filesChangedAt = now }
        state.stamps = stamps
        state.hasLooked = true
    }

    private func signal(
        _ root: ProcessEntry, _ description: AgentDescription, _ processCount: Int, _ state: Known
    ) -> Signal {
        var changedAt = roles.lastProgress(of: .agent(root: root.pid))
        if let files = state.filesChangedAt { changedAt = changedAt.map { max($0, files) } ?? files }
        return Signal(
            id: state.id, kind: .agent, subject: words.subject(root, name: description.name),
            detail: processCount > 1 ? "\(processCount) processes" : nil, pid: root.pid,
            user: words.user(root.uid),
            container: root.container, since: state.since, changedAt: changedAt)
    }
}
