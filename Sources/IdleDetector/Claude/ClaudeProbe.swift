package import ProcFS

/// Tells what each Claude process does, from what its session writes about itself.
package struct ClaudeProbe: ActivityProbe {
    /// Reasons that are told of one look.
    private static let reasonLimit = 4

    package let name = "claude"
    package let interval: Duration = .seconds(15)
    /// When it wants to be called at the latest, although its interval is not over; nil: then.
    package private(set) var wantsSoon: Moment?

    private let procfs: ProcFileSystem
    private let inotify: InotifyWatch?
    private let zone: LocalZone
    private let wallClock: @Sendable () -> Int64
    private var sessions: [Int32: ClaudeSession] = [:]

    /// - Parameter inotify: wakes whoever polls its descriptor when a session changes; without one changes are seen
    ///   at the next
    ///   look.
    package init(procfs: ProcFileSystem, inotify: InotifyWatch?) {
        self.init(procfs: procfs, inotify: inotify, zone: .machine, wallClock: WallTime.now)
    }

    /// - Parameter wallClock: milliseconds since 1970.
    init(
        procfs: ProcFileSystem, inotify: InotifyWatch?, zone: LocalZone,
        wallClock: @escaping @Sendable () -> Int64
    ) {
        self.procfs = procfs
        self.inotify = inotify
        self.zone = zone
        self.wallClock = wallClock
    }

    /// Readable when a session changed: poll it for POLLIN, and look then. -1 without inotify, which poll(2) passes
    /// over.
    package var inotifyDescriptor: Int32 { inotify?.descriptor ?? -1 }
    package var wakeDescriptor: Int32? { inotify?.descriptor }

    /// Sessions of processes that are not in `context.claude` are forgotten, with what was planned in them.
    package mutating func look(_ context: LookContext) throws(ProbeFailure) -> ProbeFindings {
        drain()
        forget(unless: context.claude)
        wantsSoon = nil
        let around = ClaudeSession.Surroundings(
            procfs: procfs, inotify: inotify, zone: zone, wallNow: wallClock(), now: context.now)
        var findings = ProbeFindings()
        var reasons: [String] = []
        var budget = TranscriptFollower.sharedReadLimit
        for (pid, id) in context.claude.sorted(by: { $0.key < $1.key }).prefix(ClaudeProcesses.processLimit) {
            guard let entry = context.processes.entries[pid] else { continue }
            var session = sessions.removeValue(forKey: pid) ?? ClaudeSession(id: id, firstSeen: context.now)
            let outcome = session.look(entry, around, budget: &budget)
            sessions[pid] = session
            findings.signals += outcome.signals
            if let soon = outcome.wantsSoon { wantsSoon = min(wantsSoon ?? soon, soon) }
            if let reason = outcome.blindSpot { reasons.append(reason) }
        }
        findings.blindSpot = Self.blindSpot(
            reasons, left: context.claude.count - ClaudeProcesses.processLimit)
        return findings
    }

    private mutating func drain() {
        guard let gone = inotify?.drain(), !gone.isEmpty else { return }
        for (pid, session) in sessions {
            if let watch = session.watch, gone.contains(watch) { sessions[pid]?.forgetWatch() }
        }
    }

    private mutating func forget(unless present: [Int32: String]) {
        for (pid, session) in sessions where present[pid] != session.id {
            if let watch = session.watch { inotify?.release(watch) }
            sessions[pid] = nil
        }
    }

    private static func blindSpot(_ reasons: [String], left: Int) -> String? {
        var reasons = reasons
        if left > 0 {
            reasons.append("\(left) Claude processes beyond the bound of \(ClaudeProcesses.processLimit)")
        }
        guard !reasons.isEmpty else { return nil }
        let rest = reasons.count - reasonLimit
        return reasons.prefix(reasonLimit).joined(separator: "; ") + (rest > 0 ? "; and \(rest) more" : "")
    }
}
