package import IdleDetector

/// A verdict in a person's words: what holds the machine or was last, since when, and what follows when. Pure.
package struct IdleExplanation: Sendable {
    private let verdict: IdleVerdict
    private let asking: [Signal]
    private let now: Moment
    private let clock: WallClock

    package init(_ verdict: IdleVerdict, _ snapshot: ActivitySnapshot, now: Moment, clock: WallClock) {
        self.verdict = verdict
        self.now = max(now, verdict.at)
        self.clock = clock
        asking = snapshot.signals.filter { $0.kind == .claudeAsking }.sorted {
            ($0.since, $0.id) < ($1.since, $1.id)
        }
    }

    /// One to three sentences.
    package var text: String {
        switch verdict.state {
        case .active where verdict.holding.isEmpty: touched
        case .active: held
        case .waiting: waiting
        case .idle: idle
        }
    }

    /// The state and what Claude does, in a few words that change only when one of the two does.
    package static func summary(_ verdict: IdleVerdict) -> String {
        let claude =
            switch verdict.claude {
            case .works: "Claude works"
            case .waits: "Claude waits"
            case .gone: "no Claude"
            }
        return "\(verdict.state.rawValue), \(claude)"
    }

    // MARK: By state

    private var held: String {
        guard let first = verdict.holding.first else { return touched }
        var text = "Active: \(holding(first))."
        let others = verdict.holding.count - 1
        if others == 1 {
            text += " Besides, \(verdict.holding[1].text)."
        } else if others > 1 {
            text += " Besides, \(verdict.holding[1].text), and \(others - 1) more."
        }
        if let question { text += " \(question) meanwhile." }
        return text + " \(end(first))"
    }

    private var touched: String {
        let last = verdict.lastActivity
        var text = "Active: the last activity was \(ago(last.changedAt ?? last.since)): \(last.text)."
        if let deadline = verdict.deadline {
            text += " If nothing happens, the machine becomes idle \(at(deadline))."
        }
        return text
    }

    private var waiting: String {
        let last = verdict.lastActivity
        let what = question ?? "Claude asks its user"
        let end = verdict.deadline.map { "; the machine becomes idle \(at($0)) if nobody answers" } ?? ""
        let text = "Waiting: \(what)\(end)."
        // That it began to ask is what is said already.
        if asking.contains(where: { $0.id == last.id }) { return text }
        return "\(text) The last activity was \(ago(last.changedAt ?? last.since)): \(last.text)."
    }

    private var idle: String {
        let last = verdict.lastActivity
        let time = clock.timeOfDay(last.changedAt ?? last.since, now: now)
        let age = now - verdict.since < .seconds(60) ? "" : " (for \(length(from: verdict.since)))"
        var text =
            "Idle since \(clock.timeOfDay(verdict.since, now: now))\(age): "
            + "the last activity was at \(time): \(last.text)."
        if let question { text += " \(question), and nobody answered." }
        if verdict.endAction == .image {
            text += " A Claude made no progress in the middle of a turn, so the disk is worth an image."
        }
        return text
    }

    // MARK: Parts

    /// What is asked, by whom, for how long.
    private var question: String? {
        guard let first = asking.first else { return nil }
        let what = first.detail.map { ": \($0)" } ?? ""
        let others =
            asking.count == 1
            ? "" : ", and so \(asking.count == 2 ? "does another" : "do \(asking.count - 1) others")"
        return "Claude asks its user (\(first.subject), for \(length(from: first.since)))\(what)\(others)"
    }

    /// The reason with its times, within the parentheses that it ends with where it has some.
    private func holding(_ reason: IdleVerdict.Reason) -> String {
        var times = ["for \(length(from: reason.since))"]
        if Self.isTimed(reason.kind), let until = reason.until {
            times.append("until \(clock.timeOfDay(until, now: now))")
        } else if let changed = reason.changedAt, reason.kind != nil {
            times.append("last progress \(ago(changed))")
        }
        let words = times.joined(separator: ", ")
        return reason.text.hasSuffix(")")
            ? "\(reason.text.dropLast()), \(words))" : "\(reason.text) (\(words))"
    }

    /// What follows if nothing changes.
    private func end(_ first: IdleVerdict.Reason) -> String {
        guard let deadline = verdict.deadline else {
            return first.kind == nil
                ? "The machine does not become idle until samd can look again."
                : "Nothing is counted down while it does."
        }
        if Self.isTimed(first.kind) || first.kind == .agent || first.kind == .job {
            return "If nothing else happens, the machine becomes idle \(at(deadline))."
        }
        let progress = max(first.since, first.changedAt ?? first.since)
        if now - progress < Self.silence { return "Nothing is counted down while it does." }
        return "If it makes no progress, the machine becomes idle \(at(deadline))."
    }

    /// After so long without progress it is said when that will stop to count.
    private static let silence: Duration = .seconds(600)

    /// Whether a kind of evidence ends at a time of its own.
    private static func isTimed(_ kind: Signal.Kind?) -> Bool {
        switch kind {
        case .hold, .operation, .interrupted, .wakeUp: true
        default: false
        }
    }

    private func length(from moment: Moment) -> String { DurationWords.text(now - moment) }

    private func ago(_ moment: Moment) -> String {
        now - moment < .seconds(1) ? "just now" : "\(length(from: moment)) ago"
    }

    private func at(_ moment: Moment) -> String {
        let time = "at \(clock.timeOfDay(moment, now: now))"
        return moment > now ? "\(time) (in \(DurationWords.text(moment - now)))" : time
    }
}
