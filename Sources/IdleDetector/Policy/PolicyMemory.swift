extension IdlePolicy {
    /// What the policy must remember from one evaluation to the next; kept on disk within one boot.
    package struct Memory: Codable, Sendable, Equatable {
        /// Something that counted, and when.
        struct Touch: Codable, Sendable, Equatable {
            var id: String
            var kind: Signal.Kind?
            var text: String
            var at: Moment
        }

        /// Changes of one signal that followed each other without a pause.
        struct Streak: Codable, Sendable, Equatable {
            var start: Moment
            var last: Moment
        }

        /// What held at the last evaluation.
        struct Held: Codable, Sendable, Equatable {
            var id: String
            var kind: Signal.Kind
            var text: String
        }

        package internal(set) var startedAt: Moment
        var evaluatedAt: Moment
        var strong: Touch
        var weak: Touch?
        var held: Touch?
        package internal(set) var lastHuman: Moment?
        var lastBeyondFiles: Moment
        package internal(set) var state = IdleVerdict.State.active
        var since: Moment
        var streaks: [String: Streak] = [:]
        var holding: [Held] = []
        var sessions: [String: Signal.Kind] = [:]
        /// The newest progress of the tools of each present Claude, those that have ended included.
        var toolProgress: [String: Moment] = [:]
        /// When each standing alarm began, by kind and id.
        var alarms: [String: Moment] = [:]

        init(startedAt: Moment) {
            self.startedAt = startedAt
            evaluatedAt = startedAt
            strong = Touch(id: "start", kind: nil, text: "samd began to watch", at: startedAt)
            lastBeyondFiles = startedAt
            since = startedAt
        }

        /// What older versions did not keep yet is empty: their recordings must stay readable.
        package init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            startedAt = try container.decode(Moment.self, forKey: .startedAt)
            evaluatedAt = try container.decode(Moment.self, forKey: .evaluatedAt)
            strong = try container.decode(Touch.self, forKey: .strong)
            weak = try container.decodeIfPresent(Touch.self, forKey: .weak)
            held = try container.decodeIfPresent(Touch.self, forKey: .held)
            lastHuman = try container.decodeIfPresent(Moment.self, forKey: .lastHuman)
            lastBeyondFiles = try container.decode(Moment.self, forKey: .lastBeyondFiles)
            state = try container.decode(IdleVerdict.State.self, forKey: .state)
            since = try container.decode(Moment.self, forKey: .since)
            streaks = try container.decodeIfPresent([String: Streak].self, forKey: .streaks) ?? [:]
            holding = try container.decodeIfPresent([Held].self, forKey: .holding) ?? []
            sessions = try container.decodeIfPresent([String: Signal.Kind].self, forKey: .sessions) ?? [:]
            toolProgress = try container.decodeIfPresent([String: Moment].self, forKey: .toolProgress) ?? [:]
            alarms = try container.decodeIfPresent([String: Moment].self, forKey: .alarms) ?? [:]
        }

        // MARK: What flows in

        /// Another samd watches again from `now` on. It cannot see what changed while nobody watched, so that it may have
        /// been somebody: for long, that is an activity; for a moment, a weak one, that many restarts add nothing to.
        mutating func resume(at now: Moment, patience: Duration) {
            let touch = Touch(id: "start", kind: nil, text: "samd began to watch again", at: now)
            if now - evaluatedAt >= patience {
                raise(touch, isFiles: false)
            } else if now > weak?.at ?? .boot {
                weak = touch
            }
        }

        /// Follows changes of what a human or a program may make, to tell the two apart.
        mutating func noteChanges(_ signals: [Signal], now: Moment, settings: IdleSettings) {
            var present: Set<String> = []
            for signal in signals where signal.kind.mayBeSteady {
                present.insert(signal.id)
                guard let changed = signal.changedAt.map({ min($0, now) }) else { continue }
                guard var streak = streaks[signal.id] else {
                    streaks[signal.id] = Streak(start: changed, last: changed)
                    continue
                }
                guard changed > streak.last else { continue }
                if changed - streak.last >= settings.steadyPause { streak.start = changed }
                streak.last = changed
                streaks[signal.id] = streak
            }
            streaks = streaks.filter { present.contains($0.key) }
        }

        /// A session that came, went, or does something else is an activity of its own.
        mutating func noteSessions(_ signals: [Signal], now: Moment) {
            var present: [String: Signal.Kind] = [:]
            for signal in signals where signal.kind.isClaudeSession {
                present[signal.id] = signal.kind
                if sessions[signal.id] != signal.kind { touch(signal, at: now, isHuman: false) }
            }
            for (id, kind) in sessions where present[id] == nil {
                raise(Touch(id: id, kind: kind, text: "a Claude session ended", at: now), isFiles: false)
            }
            sessions = present
        }

        /// A tool that ends takes nothing back of what its session has achieved.
        mutating func noteToolProgress(_ signals: [Signal]) {
            for signal in signals where signal.kind == .tool {
                guard let owner = signal.belongsTo, sessions[owner] != nil else { continue }
                let last = max(signal.since, signal.changedAt ?? signal.since)
                toolProgress[owner] = max(toolProgress[owner] ?? last, last)
            }
            toolProgress = toolProgress.filter { sessions[$0.key] != nil }
        }

        mutating func touch(_ signal: Signal, at: Moment, isHuman: Bool) {
            if isHuman { lastHuman = max(lastHuman ?? at, at) }
            raise(
                Touch(id: signal.id, kind: signal.kind, text: SignalWords.past(signal), at: at),
                isFiles: signal.kind == .files)
        }

        private mutating func raise(_ touch: Touch, isFiles: Bool) {
            if !isFiles { lastBeyondFiles = max(lastBeyondFiles, touch.at) }
            if touch.at > strong.at { strong = touch }
        }

        mutating func touchWeakly(_ signal: Signal, at: Moment) {
            guard at > weak?.at ?? .boot else { return }
            weak = Touch(id: signal.id, kind: signal.kind, text: SignalWords.past(signal), at: at)
        }

        /// What holds is the activity of now; what held until a moment ago was the activity until it ended or was capped.
        mutating func keepHeld(
            _ ids: [String], effects: [String: SignalEffect], signals: [Signal], now: Moment
        ) {
            for before in holding where !ids.contains(before.id) {
                let end =
                    if case .capped(let at, _, _) = effects[before.id] { min(at, now) } else { now }
                hold(Touch(id: before.id, kind: before.kind, text: before.text, at: end))
            }
            let holders = Set(ids)
            let present = signals.filter { holders.contains($0.id) }
            holding = present.map { Held(id: $0.id, kind: $0.kind, text: SignalWords.past($0)) }
            if let first = holding.first {
                hold(Touch(id: first.id, kind: first.kind, text: first.text, at: now))
            }
        }

        private mutating func hold(_ touch: Touch) {
            lastBeyondFiles = max(lastBeyondFiles, touch.at)
            if touch.at >= held?.at ?? .boot { held = touch }
        }

        // MARK: What follows

        func lastActivity(weakLimit: Duration) -> Touch {
            var last = strong
            if let held, held.at > last.at { last = held }
            if var weak, weak.at > last.at {
                weak.at = min(weak.at, last.at + weakLimit)
                last = weak
            }
            return last
        }

        /// Gives each alarm the moment at which it was first raised, and forgets those that ended.
        mutating func standing(_ raised: [IdleVerdict.Alarm], now: Moment) -> [IdleVerdict.Alarm] {
            var kept: [String: Moment] = [:]
            let standing = raised.map { alarm in
                var alarm = alarm
                let key = "\(alarm.kind.rawValue) \(alarm.id)"
                alarm.since = alarms[key] ?? min(alarm.since, now)
                kept[key] = alarm.since
                return alarm
            }
            alarms = kept
            return standing
        }
    }
}

extension Signal.Kind {
    /// Whether a program can make it look like a human's doing.
    fileprivate var mayBeSteady: Bool {
        switch self {
        case .terminal, .webPerson, .files: true
        default: false
        }
    }
}
