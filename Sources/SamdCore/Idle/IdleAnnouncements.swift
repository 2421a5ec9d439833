import IdleDetector
import Logging

/// Something that people should be told where they are.
package struct NotificationRequest: Sendable, Equatable {
    /// What it is about. The raw values never change.
    package enum Kind: String, Sendable, CaseIterable {
        /// A Claude session has asked its user something for a while.
        case waiting
        /// The machine becomes idle soon.
        case warned
        /// An alarm stands.
        case alarm
        /// The machine was rebooted in the middle of work.
        case interrupted
    }
    package var kind: Kind
    package var title: String
    package var text: String
    /// The facts, as the event of the same occasion carries them.
    package var data: [String: String]

    package init(kind: Kind, title: String, text: String, data: [String: String] = [:]) {
        self.kind = kind
        self.title = title
        self.text = text
        self.data = data
    }
}

/// What has to be told after a verdict.
struct IdleAnnouncement: Sendable, Equatable {
    /// What is recorded as an event.
    struct Event: Sendable, Equatable {
        var kind: EventKind
        var level: Logger.Level
        var message: String
        var data: [String: String] = [:]
    }
    var event: Event?
    var notification: NotificationRequest?
}

/// Decides what to tell, and when: each change once, each deadline once, standing alarms again and again. Pure.
struct IdleAnnouncements: Sendable {
    /// What was told already; kept on disk within one boot, so that a restart of samd repeats nothing.
    struct Memory: Codable, Sendable, Equatable {
        var state: IdleVerdict.State?
        /// The deadline that was announced.
        var warned: Moment?
        /// When each standing alarm was last told, by kind and id.
        var alarms: [String: Moment] = [:]
        /// Since when the questions are asked that people were notified of, by session.
        var asked: [String: Moment] = [:]
    }

    /// What a session does, as `claude.changed` says it.
    private struct Session {
        var state: String
        var subject: String
        var toldAt: Moment
    }

    /// A question is a notification when it stood so long: answered at once, it is none.
    static let askingPatience: Duration = .seconds(60)
    /// Each session's changes are told at most so often.
    static let sessionPause: Duration = .seconds(1)

    /// Sessions that are remembered while it cannot be seen whether they are gone, beside those that are there.
    static let sessionLimit = 256

    private(set) var memory: Memory
    private var sessions: [String: Session] = [:]
    /// When there is something to tell although nothing changed.
    private(set) var nextAt: Moment?

    init(memory: Memory = Memory()) { self.memory = memory }

    /// What a verdict gives to tell. `explanation` is the verdict's, in words.
    mutating func observe(
        _ verdict: IdleVerdict, _ snapshot: ActivitySnapshot, explanation: String, settings: IdleSettings,
        facts: [String: String]
    ) -> [IdleAnnouncement] {
        nextAt = nil
        var told = sessionChanges(snapshot, now: verdict.at)
        told += stateChange(verdict, explanation, settings, facts)
        told += questions(snapshot, now: verdict.at)
        told += alarms(verdict, settings)
        return told
    }

    // MARK: The state and its end

    private mutating func stateChange(
        _ verdict: IdleVerdict, _ explanation: String, _ settings: IdleSettings, _ facts: [String: String]
    ) -> [IdleAnnouncement] {
        var told: [IdleAnnouncement] = []
        if verdict.state != memory.state {
            let (kind, level): (EventKind, Logger.Level) =
                switch verdict.state {
                case .active: (.idleActive, .info)
                case .waiting: (.idleWaiting, .info)
                case .idle: (.idleIdle, .notice)
                }
            told.append(
                IdleAnnouncement(
                    event: .init(kind: kind, level: level, message: explanation, data: facts)))
            memory.state = verdict.state
            if verdict.state != .waiting { memory.warned = nil }
        }
        let deadline = verdict.state == .idle ? nil : verdict.deadline
        guard let deadline, verdict.at >= deadline - settings.warnBefore else {
            if memory.warned != nil, told.isEmpty {
                told.append(
                    IdleAnnouncement(
                        event: .init(kind: .idleActive, level: .info, message: explanation, data: facts)))
            }
            memory.warned = nil
            if let deadline { wake(at: deadline - settings.warnBefore, now: verdict.at) }
            return told
        }
        // A deadline that moves a little is still the one that was announced.
        defer { memory.warned = deadline }
        guard memory.warned == nil else { return told }
        let left = DurationWords.text(deadline - verdict.at)
        told.append(
            IdleAnnouncement(
                event: .init(
                    kind: .idleDeadlineNear, level: .notice, message: "idle in \(left). \(explanation)",
                    data: facts),
                notification: NotificationRequest(
                    kind: .warned, title: "Idle in \(left)", text: explanation, data: facts)))
        return told
    }

    // MARK: Claude

    private mutating func sessionChanges(_ snapshot: ActivitySnapshot, now: Moment) -> [IdleAnnouncement] {
        var told: [IdleAnnouncement] = []
        var present: Set<String> = []
        for signal in snapshot.signals where signal.kind.isClaudeSession {
            present.insert(signal.id)
            let state = Self.word(signal.kind)
            let before = sessions[signal.id]
            guard before?.state != state else { continue }
            if let before, now - before.toldAt < Self.sessionPause {
                wake(at: before.toldAt + Self.sessionPause, now: now)
                continue
            }
            sessions[signal.id] = Session(state: state, subject: signal.subject, toldAt: now)
            let detail = signal.detail.map { ": \($0)" } ?? ""
            told.append(change(signal.id, signal.subject, from: before?.state, to: state, detail))
        }
        // Could not look is not gone.
        guard !snapshot.probes.contains(where: { $0.name == "claude" && $0.failingSince != nil }) else {
            if sessions.count > Self.sessionLimit { sessions = sessions.filter { present.contains($0.key) } }
            return told
        }
        for (id, session) in sessions.sorted(by: { $0.key < $1.key }) where !present.contains(id) {
            sessions[id] = nil
            told.append(change(id, session.subject, from: session.state, to: "gone", ""))
        }
        return told
    }

    private func change(
        _ id: String, _ subject: String, from before: String?, to state: String, _ detail: String
    ) -> IdleAnnouncement {
        let words =
            switch state {
            case "works": "Claude works (\(subject))"
            case "asks": "Claude asks its user (\(subject))\(detail)"
            case "prompt": "Claude is at its prompt (\(subject))"
            case "gone": "Claude is gone (\(subject))"
            default: "what Claude does cannot be told (\(subject))\(detail)"
            }
        let data = ["session": id, "state": state, "before": before ?? "", "subject": subject]
        return IdleAnnouncement(
            event: .init(kind: .claudeChanged, level: .info, message: words, data: data))
    }

    /// A session's state in one word; nothing else is one.
    static func word(_ kind: Signal.Kind) -> String {
        switch kind {
        case .claudeBusy, .claudeShell: "works"
        case .claudeAsking: "asks"
        case .claudePrompt: "prompt"
        default: "unknown"
        }
    }

    private mutating func questions(_ snapshot: ActivitySnapshot, now: Moment) -> [IdleAnnouncement] {
        var told: [IdleAnnouncement] = []
        var standing: [String: Moment] = [:]
        for signal in snapshot.signals where signal.kind == .claudeAsking {
            let due = signal.since + Self.askingPatience
            if memory.asked[signal.id] == signal.since {
                standing[signal.id] = signal.since
            } else if now >= due {
                standing[signal.id] = signal.since
                let detail = signal.detail.map { ": \($0)" } ?? ""
                told.append(
                    IdleAnnouncement(
                        notification: NotificationRequest(
                            kind: .waiting, title: "Claude asks its user",
                            text: "Claude asks its user (\(signal.subject))\(detail)",
                            data: ["session": signal.id, "subject": signal.subject])))
            } else {
                wake(at: due, now: now)
            }
        }
        memory.asked = standing
        return told
    }

    // MARK: Alarms

    private mutating func alarms(_ verdict: IdleVerdict, _ settings: IdleSettings) -> [IdleAnnouncement] {
        var told: [IdleAnnouncement] = []
        var standing: [String: Moment] = [:]
        for alarm in verdict.alarms {
            let key = "\(alarm.kind.rawValue) \(alarm.id)"
            let last = memory.alarms[key]
            if let last, verdict.at < last + settings.alarmRepeat {
                standing[key] = last
            } else {
                standing[key] = verdict.at
                let data = ["alarm": alarm.kind.rawValue, "id": alarm.id, "text": alarm.text]
                let age = DurationWords.text(verdict.at - alarm.since)
                told.append(
                    IdleAnnouncement(
                        event: .init(
                            kind: .idleAlarm, level: .warning, message: "\(alarm.text) (for \(age))",
                            data: data),
                        notification: NotificationRequest(
                            kind: .alarm, title: "Alarm: \(alarm.kind.rawValue)", text: alarm.text, data: data
                        )))
            }
            wake(at: (standing[key] ?? verdict.at) + settings.alarmRepeat, now: verdict.at)
        }
        memory.alarms = standing
        return told
    }

    private mutating func wake(at moment: Moment, now: Moment) {
        guard moment > now else { return }
        nextAt = min(nextAt ?? moment, moment)
    }
}
