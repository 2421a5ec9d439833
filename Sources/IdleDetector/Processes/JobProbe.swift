/// The workspace's other processes, by control group and session: jobs of a shell, of tmux, of cron, of a container.
///
/// A dev server is a job that makes no progress. Those are reported too, so that people see why they do not count.
package struct JobProbe: ActivityProbe {
    /// Jobs that made progress and are reported; of more, the latest.
    package static let progressingLimit = 256
    /// Jobs that never made any; of more, those first seen last.
    package static let silentLimit = 64
    /// A shell at its prompt stands for what it ran before so long after the last progress.
    static let shellGrace: Duration = .seconds(300)
    /// Ancestors that are looked at for where a job runs.
    private static let ancestorLimit = 16

    package let name = "jobs"
    package let interval: Duration = .seconds(15)

    private struct Known {
        var id: String
        var since: Moment
    }

    private let roles: ProcessRoles
    private let words: ProcessWords
    private var known: [ProcessGroup: Known] = [:]

    package init(roles: ProcessRoles, userName: @escaping @Sendable (UInt32) -> String? = { _ in nil }) {
        self.roles = roles
        words = ProcessWords(userName: userName)
    }

    package mutating func look(_ context: LookContext) throws(ProbeFailure) -> ProbeFindings {
        roles.update(context)
        var signals: [Signal] = []
        for (group, pids) in roles.groups {
            guard case .job = group else { continue }
            let entries = pids.compactMap { context.processes.entries[$0] }
            if let signal = signal(group, entries, context) { signals.append(signal) }
        }
        known = known.filter { roles.groups[$0.key] != nil }
        return ProbeFindings(signals: Self.bounded(signals))
    }

    private mutating func signal(_ group: ProcessGroup, _ entries: [ProcessEntry], _ context: LookContext)
        -> Signal?
    {
        let progress = roles.lastProgress(of: group)
        let alive = entries.filter { !$0.isZombie }.sorted { ($0.startTime, $0.pid) < ($1.startTime, $1.pid) }
        let working = alive.filter { roles.roles[$0.pid] == .job }
        // The oldest is the one that made the others; a shell that only passes on is none to speak of.
        let main = working.first { roles.traits(of: $0.pid)?.isShell != true } ?? working.first
        let isRecent = progress.map { context.now - $0 <= Self.shellGrace } ?? false
        guard let main = main ?? (isRecent ? alive.first : nil) else { return nil }
        let entry = known[group] ?? Known(id: Self.id(group, alive), since: context.now)
        known[group] = entry
        return Signal(
            id: entry.id, kind: .job, subject: words.subject(main, place: whereabouts(main, context)),
            detail: alive.count > 1 ? "\(alive.count) processes" : nil, pid: main.pid,
            user: words.user(main.uid),
            container: main.container, since: entry.since, changedAt: progress)
    }

    /// The session's leader tells it from a later one of the same number; when it is gone, the number is not given out
    /// again for as long as the session has processes.
    private static func id(_ group: ProcessGroup, _ entries: [ProcessEntry]) -> String {
        guard case .job(let cgroup, let session) = group else { return "job" }
        let start = (entries.first { $0.pid == session } ?? entries.first)?.startTime ?? 0
        // FNV-1a: short, and the same in every run.
        var hash: UInt32 = 0x811c_9dc5
        for byte in cgroup.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        return "job:\(session):\(start):\(String(hash, radix: 16))"
    }

    private func whereabouts(_ entry: ProcessEntry, _ context: LookContext) -> String? {
        var current = context.processes.entries[entry.parent]
        for _ in 0..<Self.ancestorLimit {
            guard let process = current else { return nil }
            if let place = roles.catalogue.places[process.name] { return place }
            current = context.processes.entries[process.parent]
        }
        return nil
    }

    private static func bounded(_ signals: [Signal]) -> [Signal] {
        let progressing = signals.filter { $0.changedAt != nil }.sorted {
            ($0.changedAt ?? .boot, $1.id) > ($1.changedAt ?? .boot, $0.id)
        }
        let silent = signals.filter { $0.changedAt == nil }.sorted { ($0.since, $1.id) > ($1.since, $0.id) }
        return Array(progressing.prefix(progressingLimit)) + silent.prefix(silentLimit)
    }
}
