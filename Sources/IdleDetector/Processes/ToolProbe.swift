/// What Claude sessions run, and what is left of sessions that are gone.
///
/// A tool is known by its ancestry, by having been one before, by Claude's marker in its environment, or by its
/// session, in this order (`ProcessRoles`). MCP and language servers, which live in Claude's own session for as long as
/// it lives, are not reported: they say nothing about work.
package struct ToolProbe: ActivityProbe {
    /// Signals that are reported; of more, those with the latest progress.
    package static let signalLimit = 256

    package let name = "tools"
    package let interval: Duration = .seconds(5)

    /// Processes of one session.
    private struct Known {
        var id: String
        var since: Moment
    }

    private let roles: ProcessRoles
    private let words: ProcessWords
    private var known: [Int32: Known] = [:]

    package init(roles: ProcessRoles, userName: @escaping @Sendable (UInt32) -> String? = { _ in nil }) {
        self.roles = roles
        words = ProcessWords(userName: userName)
    }

    package mutating func look(_ context: LookContext) throws(ProbeFailure) -> ProbeFindings {
        roles.update(context)
        var signals: [Signal] = []
        var seen: Set<Int32> = []
        for (group, pids) in roles.groups {
            guard case .tool(let session) = group else { continue }
            seen.insert(session)
            let entries = pids.compactMap { context.processes.entries[$0] }
            if let signal = signal(session, entries, at: context.now) { signals.append(signal) }
        }
        known = known.filter { seen.contains($0.key) }
        var findings = ProbeFindings(signals: Self.bounded(signals))
        if let unreadable = roles.unreadable {
            findings.blindSpot =
                "the environment of \(unreadable.count) processes cannot be read (\(unreadable.reason)): a task of a "
                + "Claude that is gone may be taken for another job"
        }
        return findings
    }

    private mutating func signal(_ session: Int32, _ entries: [ProcessEntry], at now: Moment) -> Signal? {
        guard let main = main(of: entries) else { return nil }
        let first = entries.first { $0.pid == session } ?? main
        let place = known[session] ?? Known(id: "tool:\(session):\(first.startTime)", since: now)
        known[session] = place
        var owner: String?
        for entry in entries {
            if case .tool(let claude)? = roles.roles[entry.pid] { owner = claude }
        }
        return Signal(
            id: place.id, kind: owner == nil ? .orphan : .tool, subject: words.subject(main),
            detail: entries.count > 1 ? "\(entries.count) processes" : nil, pid: main.pid,
            user: words.user(main.uid),
            container: main.container, since: place.since,
            changedAt: roles.lastProgress(of: .tool(session: session)),
            belongsTo: owner)
    }

    /// The process to name: the oldest that is no shell, since Claude runs every command through one.
    private func main(of entries: [ProcessEntry]) -> ProcessEntry? {
        let alive = entries.filter { !$0.isZombie }.sorted { ($0.startTime, $0.pid) < ($1.startTime, $1.pid) }
        return alive.first { roles.traits(of: $0.pid)?.isShell != true } ?? alive.first
    }

    private static func bounded(_ signals: [Signal]) -> [Signal] {
        let sorted = signals.sorted {
            ($0.changedAt ?? .boot, $0.since, $1.id) > ($1.changedAt ?? .boot, $1.since, $0.id)
        }
        return Array(sorted.prefix(signalLimit))
    }
}
