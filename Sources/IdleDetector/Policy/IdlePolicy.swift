/// Decides whether the machine is used: pure. Evidence and the present go in, a verdict with its reasons comes out.
///
/// Call `evaluate` whenever the evidence changes, and at the verdict's `reviewAt`; more often changes nothing.
///
/// - A signal *holds* (work that must not be cut off, each kind with a cap), *touches* (somebody did something), touches
///   weakly, or is ignored; `SignalRules` says which.
/// - While something holds, that is the last activity; else the newest touch is. The machine is idle when the threshold has
///   passed since the last activity, all probes can look, and nothing holds.
/// - A probe that cannot look never moves the last activity: what changes meanwhile is seen as a difference afterwards. But
///   as long as it cannot, the machine does not become idle.
package struct IdlePolicy: Sendable {
    package let settings: IdleSettings
    package private(set) var memory: Memory

    /// Begins to watch at `startedAt`, which counts as an activity, or goes on from what was remembered in this boot.
    package init(settings: IdleSettings, memory: Memory? = nil, startedAt: Moment) {
        self.settings = settings
        self.memory = memory ?? Memory(startedAt: startedAt)
    }

    /// Goes on after nobody watched: at the start of another samd, with the memory of the one before.
    package mutating func resume(at now: Moment) { memory.resume(at: now, patience: settings.blindGrace) }

    /// The verdict at `now`. Evidence from the future counts as of now.
    package mutating func evaluate(_ snapshot: ActivitySnapshot, at now: Moment) -> IdleVerdict {
        let now = max(now, memory.evaluatedAt)
        let signals = ActivitySnapshot.bounded(snapshot.signals)
        memory.noteChanges(signals, now: now, settings: settings)
        memory.noteSessions(signals, now: now)
        memory.noteToolProgress(signals)
        var findings = Findings()
        // Humans first: the caps of holds go by them. Files last: they go by everything else.
        for stage in Stage.allCases {
            let rules = rules(now: now)
            for signal in signals where Stage(signal.kind) == stage {
                findings.add(signal, rules.effect(of: signal), now: now, memory: &memory)
            }
            if stage == .work {
                memory.keepHeld(findings.held, effects: findings.effects, signals: signals, now: now)
            }
        }
        memory.evaluatedAt = now
        return verdict(findings, snapshot, now: now)
    }

    private enum Stage: CaseIterable {
        case humans, work, files

        init(_ kind: Signal.Kind) {
            self =
                switch kind {
                case .terminal, .webPerson: .humans
                case .files: .files
                default: .work
                }
        }
    }

    private func rules(now: Moment) -> SignalRules {
        let (memory, settings) = (memory, settings)
        return SignalRules(
            settings: settings, now: now, lastHuman: memory.lastHuman ?? memory.startedAt,
            lastBeyondFiles: memory.lastBeyondFiles, toolProgress: memory.toolProgress,
            isSteady: { memory.streaks[$0.id].map { $0.last - $0.start >= settings.steadyLimit } ?? false })
    }

    // MARK: The verdict

    private mutating func verdict(
        _ findings: Findings, _ snapshot: ActivitySnapshot, now: Moment
    ) -> IdleVerdict {
        let isAsking = snapshot.signals.contains { $0.kind == .claudeAsking }
        let limit = isAsking ? max(settings.threshold, settings.waitingThreshold) : settings.threshold
        let activity = memory.lastActivity(weakLimit: settings.weakLimit)
        let countdownEnd = activity.at + limit
        let blind = snapshot.probes.filter { $0.failingSince != nil || $0.lastLook == nil }
        let counted = blind.filter { probe in
            guard let since = probe.failingSince else { return now >= countdownEnd }
            return now - since >= settings.blindGrace || now >= countdownEnd
        }
        var holding = findings.holding.sorted { Self.lasts($0, longerThan: $1) }
        holding += counted.prefix(Self.blindLimit).map { Self.reason($0, now: now) }
        let state: IdleVerdict.State =
            if !holding.isEmpty { .active } else if now >= countdownEnd { .idle } else if isAsking {
                .waiting
            } else {
                .active
            }
        if state != memory.state {
            memory.state = state
            memory.since = state == .idle ? max(memory.since, min(countdownEnd, now)) : now
        }
        let alarms = memory.standing(
            alarms(findings, blind: blind, snapshot, state: state, last: activity.text, now: now), now: now)
        let deadline = deadline(findings, holding, countdownEnd: countdownEnd, limit: limit)
        return IdleVerdict(
            at: now, state: state, since: memory.since,
            claude: Self.claude(snapshot.signals, findings.effects),
            holding: holding,
            lastActivity: IdleVerdict.Reason(
                id: activity.id, kind: activity.kind, text: activity.text, since: activity.at,
                changedAt: activity.at),
            lastHuman: memory.lastHuman, ignored: findings.ignored, deadline: deadline,
            endAction: findings.needsImage ? .image : .delete, alarms: alarms,
            reviewAt: review(
                findings, holding, blind, deadline: deadline, countdownEnd: countdownEnd, now: now))
    }

    /// Probes are few; a snapshot that holds more is not ours.
    private static let blindLimit = 16

    private static func lasts(_ left: IdleVerdict.Reason, longerThan right: IdleVerdict.Reason) -> Bool {
        switch (left.until, right.until) {
        case (nil, nil): left.id < right.id
        case (nil, _): true
        case (_, nil): false
        case (let left?, let right?): left > right
        }
    }

    private static func reason(_ probe: ProbeReport, now: Moment) -> IdleVerdict.Reason {
        let why = probe.reason.map { ": \($0)" } ?? ""
        let text = probe.failingSince == nil ? "has not looked yet" : "cannot look\(why)"
        return IdleVerdict.Reason(
            id: "probe:\(probe.name)", kind: nil, text: "the probe \(probe.name) \(text)",
            since: probe.failingSince ?? now, changedAt: probe.lastLook)
    }

    private static func claude(_ signals: [Signal], _ effects: [String: SignalEffect])
        -> IdleVerdict.ClaudeState
    {
        let sessions = signals.filter { $0.kind.isClaudeSession }
        if sessions.isEmpty { return .gone }
        let works = signals.contains { signal in
            switch signal.kind {
            case .claudeBusy, .claudeUnknown: return true
            case .claudeShell, .tool:
                if case .holds = effects[signal.id] { return true }
                return false
            default: return false
            }
        }
        return works ? .works : .waits
    }

    /// When the machine becomes idle if nothing changes.
    private func deadline(
        _ findings: Findings, _ holding: [IdleVerdict.Reason], countdownEnd: Moment, limit: Duration
    ) -> Moment? {
        var deadline = countdownEnd
        for reason in holding {
            guard let until = reason.until else { return nil }
            deadline = max(deadline, findings.windows.contains(reason.id) ? until : until + limit)
        }
        for hold in findings.later.sorted(by: { $0.from < $1.from }) where hold.from < deadline {
            deadline = max(deadline, hold.until + limit)
        }
        return deadline
    }

    private func alarms(
        _ findings: Findings, blind: [ProbeReport], _ snapshot: ActivitySnapshot, state: IdleVerdict.State,
        last: String, now: Moment
    ) -> [IdleVerdict.Alarm] {
        var alarms = findings.alarms
        for probe in blind {
            guard let since = probe.failingSince, now - since >= settings.blindAlarm else { continue }
            alarms.append(
                IdleVerdict.Alarm(
                    kind: .blind, id: "probe:\(probe.name)", text: Self.reason(probe, now: now).text,
                    since: since))
        }
        for signal in snapshot.signals where signal.kind == .claudeUnknown {
            let last = max(signal.since, signal.changedAt ?? signal.since)
            guard now - last >= settings.unknownAlarm else { continue }
            alarms.append(
                IdleVerdict.Alarm(
                    kind: .unknownClaude, id: signal.id, text: SignalWords.text(signal), since: last))
        }
        let lastHuman = memory.lastHuman ?? memory.startedAt
        // Whatever keeps it: also what only touches again and again.
        if state != .idle, now - lastHuman >= settings.unattendedAlarm {
            let work = findings.holding.first { $0.kind?.isWork == true }?.text ?? last
            alarms.append(
                IdleVerdict.Alarm(
                    kind: .unattended, id: "machine",
                    text: "no human was seen for \(DurationWords.text(now - lastHuman)), and \(work)",
                    since: lastHuman + settings.unattendedAlarm))
        }
        return Array(alarms.prefix(Self.alarmLimit))
    }

    private static let alarmLimit = 64

    private func review(
        _ findings: Findings, _ holding: [IdleVerdict.Reason], _ blind: [ProbeReport], deadline: Moment?,
        countdownEnd: Moment, now: Moment
    ) -> Moment? {
        var moments = holding.compactMap(\.until) + findings.later.map(\.from) + [countdownEnd]
        if let deadline { moments += [deadline, deadline - settings.warnBefore] }
        for probe in blind {
            guard let since = probe.failingSince else { continue }
            moments += [since + settings.blindGrace, since + settings.blindAlarm]
        }
        moments.append((memory.lastHuman ?? memory.startedAt) + settings.unattendedAlarm)
        return moments.filter { $0 > now }.min()
    }
}

extension Signal.Kind {
    /// A Claude process as such; every one has exactly one such signal.
    package var isClaudeSession: Bool {
        switch self {
        case .claudeBusy, .claudeShell, .claudeAsking, .claudePrompt, .claudeUnknown: true
        default: false
        }
    }

    /// Work that goes on by itself.
    package var isWork: Bool {
        switch self {
        case .claudeBusy, .claudeShell, .claudeUnknown, .tool, .orphan, .wakeUp, .agent, .job: true
        default: false
        }
    }
}
