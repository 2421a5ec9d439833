import IdleDetector

/// `GET /v1/idle`; times are RFC 3339.
package struct IdleReport: Codable, Sendable, Equatable {
    /// What holds the machine.
    package struct Reason: Codable, Sendable, Equatable {
        package var id: String
        /// `Signal.Kind`; absent for a probe that cannot look.
        package var kind: String?
        package var text: String
        package var since: String
        package var changedAt: String?
        /// When it stops to count unless it changes.
        package var until: String?
    }
    /// What was last active.
    package struct Activity: Codable, Sendable, Equatable {
        package var id: String
        package var kind: String?
        package var text: String
        package var at: String
    }
    /// One signal and what it counts.
    package struct Evidence: Codable, Sendable, Equatable {
        package var id: String
        package var kind: String
        package var subject: String
        package var detail: String?
        package var pid: Int32?
        package var user: String?
        package var container: String?
        package var since: String
        package var changedAt: String?
        package var until: String?
        package var belongsTo: String?
        /// `holds`, `touched` (its last change is an activity) or `ignored`.
        package var counts: String
        /// Why, in words.
        package var why: String
    }
    /// How a probe fares.
    package struct Probe: Codable, Sendable, Equatable {
        package var name: String
        /// `ok`, `blind` or `starting`.
        package var state: String
        package var lastLook: String?
        package var failingSince: String?
        package var reason: String?
    }
    /// Something that people should hear of.
    package struct Alarm: Codable, Sendable, Equatable {
        package var kind: String
        package var id: String
        package var text: String
        package var since: String
    }

    /// When this was so.
    package var at: String
    /// `off`, `starting` (nothing was looked at yet), `active`, `waiting` or `idle`.
    package var state: String
    package var since: String?
    /// `works`, `waits` or `gone`.
    package var claude: String?
    /// When the machine becomes (or became) idle if nothing changes.
    package var deadline: String?
    /// `delete`, or `image` when the disk has to be kept.
    package var endAction: String?
    package var explanation: String
    package var lastActivity: Activity?
    package var lastHuman: String?
    package var holding: [Reason]
    package var signals: [Evidence]
    package var probes: [Probe]
    package var alarms: [Alarm]
    /// The settings of the policy, as the configuration file has them.
    package var settings: [String: String]

    /// Without a verdict.
    init(state: String, explanation: String, at: String, settings: [String: String]) {
        self.state = state
        self.explanation = explanation
        self.at = at
        self.settings = settings
        (holding, signals, probes, alarms) = ([], [], [], [])
    }

    /// The answer where `idle.enabled` is false.
    static func off(at: String) -> IdleReport {
        IdleReport(
            state: "off", explanation: "Idle detection is turned off (idle.enabled = false).", at: at,
            settings: [:])
    }

    /// A verdict with everything that led to it.
    init(
        _ verdict: IdleVerdict, _ snapshot: ActivitySnapshot, settings: [String: String], now: Moment,
        clock: WallClock
    ) {
        self.init(
            state: verdict.state.rawValue,
            explanation: IdleExplanation(verdict, snapshot, now: now, clock: clock).text,
            at: clock.timestamp(now), settings: settings)
        since = clock.timestamp(verdict.since)
        claude = verdict.claude.rawValue
        deadline = verdict.deadline.map(clock.timestamp)
        endAction = verdict.endAction.rawValue
        let last = verdict.lastActivity
        lastActivity = Activity(
            id: last.id, kind: last.kind?.rawValue, text: last.text,
            at: clock.timestamp(last.changedAt ?? last.since))
        lastHuman = verdict.lastHuman.map(clock.timestamp)
        holding = verdict.holding.map { reason in
            Reason(
                id: reason.id, kind: reason.kind?.rawValue, text: reason.text,
                since: clock.timestamp(reason.since), changedAt: reason.changedAt.map(clock.timestamp),
                until: reason.until.map(clock.timestamp))
        }
        signals = Self.evidence(verdict, snapshot, now: now, clock: clock)
        probes = snapshot.probes.map { probe in
            Probe(
                name: probe.name,
                state: probe.failingSince != nil ? "blind" : probe.lastLook == nil ? "starting" : "ok",
                lastLook: probe.lastLook.map(clock.timestamp),
                failingSince: probe.failingSince.map(clock.timestamp), reason: probe.reason)
        }
        alarms = verdict.alarms.map {
            Alarm(kind: $0.kind.rawValue, id: $0.id, text: $0.text, since: clock.timestamp($0.since))
        }
    }

    /// What holds first, then what was an activity, then what does not count.
    private static func evidence(
        _ verdict: IdleVerdict, _ snapshot: ActivitySnapshot, now: Moment, clock: WallClock
    ) -> [Evidence] {
        let holding = Dictionary(verdict.holding.map { ($0.id, $0) }, uniquingKeysWith: { old, _ in old })
        let ignored = Dictionary(verdict.ignored.map { ($0.id, $0.why) }, uniquingKeysWith: { old, _ in old })
        var groups: [String: [Evidence]] = [:]
        for signal in snapshot.signals {
            let (counts, why): (String, String)
            if let reason = holding[signal.id] {
                let until = reason.until.map { " until \(clock.timeOfDay($0, now: now))" }
                (counts, why) = ("holds", "it holds the machine\(until ?? "")")
            } else if let reason = ignored[signal.id] {
                (counts, why) = ("ignored", reason)
            } else {
                let isLast = signal.id == verdict.lastActivity.id
                (counts, why) = (
                    "touched", isLast ? "it was the last activity" : "its last change was an activity"
                )
            }
            groups[counts, default: []].append(Evidence(signal, counts: counts, why: why, clock: clock))
        }
        return ["holds", "touched", "ignored"].flatMap { groups[$0] ?? [] }
    }
}

extension IdleReport.Evidence {
    fileprivate init(_ signal: Signal, counts: String, why: String, clock: WallClock) {
        self.init(
            id: signal.id, kind: signal.kind.rawValue, subject: signal.subject, detail: signal.detail,
            pid: signal.pid, user: signal.user, container: signal.container,
            since: clock.timestamp(signal.since), changedAt: signal.changedAt.map(clock.timestamp),
            until: signal.until.map(clock.timestamp), belongsTo: signal.belongsTo, counts: counts, why: why)
    }
}
