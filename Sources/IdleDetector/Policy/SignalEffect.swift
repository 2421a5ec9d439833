/// What one signal means for the verdict at one instant.
enum SignalEffect: Equatable {
    /// Holds the machine until then unless it changes; nil: as long as it is there.
    case holds(until: Moment?)
    /// Holds for a moment after progress: the progress itself is the activity, not the time that it is waited for more.
    case progresses(at: Moment, until: Moment)
    /// Would hold, but reached its cap at `at`.
    case capped(at: Moment, why: String, alarm: IdleVerdict.Alarm.Kind?)
    /// Moved the last activity to `at`.
    case touches(at: Moment, isHuman: Bool)
    /// Moved it a little: never further than `IdleSettings.weakLimit` past what really counted.
    case touchesWeakly(at: Moment, why: String)
    /// Does not count yet, and will hold from then on, if nothing changes.
    case holdsLater(from: Moment, until: Moment, why: String)
    /// Does not count.
    case ignored(why: String)
}

/// The rules by kind of signal: pure.
struct SignalRules {
    let settings: IdleSettings
    let now: Moment
    /// The last human input, or when the machine began to be watched.
    let lastHuman: Moment
    /// The last activity other than changed files.
    let lastBeyondFiles: Moment
    /// The newest progress of the tools of each Claude, by its signal's id.
    let toolProgress: [String: Moment]
    /// Whether the signal's changes never paused for so long that a program must make them.
    let isSteady: (Signal) -> Bool

    func effect(of signal: Signal) -> SignalEffect {
        switch signal.kind {
        case .claudeBusy: cap(signal, settings.busyCap, "no progress", alarm: .silentBusy)
        case .claudeShell, .tool, .orphan: cap(signal, settings.silentCap, "no progress", alarm: nil)
        case .claudeUnknown: .holds(until: nil)
        case .claudeAsking: .ignored(why: "it waits for its user")
        case .claudePrompt: .ignored(why: "it is at its prompt")
        case .wakeUp: wakeUp(signal)
        case .agent, .job: progress(signal)
        case .terminal, .webPerson: human(signal)
        case .files: files(signal)
        case .webBackground, .transfer: weak(signal)
        case .terminalPane: .ignored(why: "who types there is at the multiplexer's client")
        case .ssh: .ignored(why: "an open connection is no activity")
        case .hold: hold(signal)
        case .operation: operation(signal)
        case .interrupted:
            until(signal, signal.until ?? signal.since + settings.interruptionGrant, "it is over")
        }
    }

    private func lastChange(_ signal: Signal) -> Moment {
        var last = max(signal.since, signal.changedAt ?? signal.since)
        if let tools = toolProgress[signal.id] { last = max(last, tools) }
        return min(last, now)
    }

    private func cap(
        _ signal: Signal, _ cap: Duration, _ what: String, alarm: IdleVerdict.Alarm.Kind?
    ) -> SignalEffect {
        let end = lastChange(signal) + cap
        if now < end { return .holds(until: end) }
        return .capped(at: end, why: "\(what) for \(DurationWords.text(cap))", alarm: alarm)
    }

    private func wakeUp(_ signal: Signal) -> SignalEffect {
        guard let at = signal.until else { return .ignored(why: "its time is unknown") }
        let end = lastHuman + settings.wakeUpCap
        guard at - now <= settings.wakeUpHorizon else {
            let why = "it is more than \(DurationWords.text(settings.wakeUpHorizon)) away"
            let from = at - settings.wakeUpHorizon
            if from >= end { return .ignored(why: why) }
            return .holdsLater(from: from, until: min(at + settings.wakeUpGrace, end), why: why)
        }
        guard now < at + settings.wakeUpGrace else { return .ignored(why: "its time is over") }
        guard now < end else {
            return .capped(
                at: end, why: "no human was seen for \(DurationWords.text(settings.wakeUpCap))",
                alarm: .capped)
        }
        return .holds(until: min(at + settings.wakeUpGrace, end))
    }

    private func progress(_ signal: Signal) -> SignalEffect {
        guard let changed = signal.changedAt else { return .ignored(why: "it makes no progress") }
        let at = min(changed, now)
        let end = at + settings.progressWindow
        return now < end ? .progresses(at: at, until: end) : .touches(at: at, isHuman: false)
    }

    private func human(_ signal: Signal) -> SignalEffect {
        guard let changed = signal.changedAt else {
            return .ignored(why: "nothing was entered since it is watched")
        }
        if isSteady(signal) {
            return .touchesWeakly(
                at: min(changed, now),
                why: "input without a pause for \(DurationWords.text(settings.steadyLimit)) is a program's")
        }
        return .touches(at: min(changed, now), isHuman: true)
    }

    private func files(_ signal: Signal) -> SignalEffect {
        guard let changed = signal.changedAt else {
            return .ignored(why: "nothing changed since it is watched")
        }
        let at = min(changed, now)
        guard at < lastBeyondFiles + settings.filesCap else {
            return .capped(
                at: lastBeyondFiles + settings.filesCap,
                why: "nothing but files changed for \(DurationWords.text(settings.filesCap))",
                alarm: now - at < settings.threshold ? .filesAlone : nil)
        }
        if isSteady(signal) {
            return .touchesWeakly(
                at: at,
                why: "changes without a pause for \(DurationWords.text(settings.steadyLimit)) are a program's"
            )
        }
        return .touches(at: at, isHuman: false)
    }

    private func weak(_ signal: Signal) -> SignalEffect {
        guard let changed = signal.changedAt else {
            return .ignored(why: "nothing flowed since it is watched")
        }
        return .touchesWeakly(
            at: min(changed, now),
            why: "it counts for \(DurationWords.text(settings.weakLimit)) past the last real activity at most"
        )
    }

    private func hold(_ signal: Signal) -> SignalEffect {
        let cap = lastHuman + settings.holdCap
        let end = min(signal.until ?? cap, cap)
        if now < end { return .holds(until: end) }
        guard signal.until.map({ $0 > now }) ?? true else { return .ignored(why: "it is over") }
        return .capped(
            at: cap, why: "no human was seen for \(DurationWords.text(settings.holdCap))", alarm: .capped)
    }

    private func operation(_ signal: Signal) -> SignalEffect {
        if let end = signal.until { return until(signal, end, "it is over") }
        return cap(signal, settings.operationCap, "no progress", alarm: .capped)
    }

    private func until(_ signal: Signal, _ end: Moment, _ why: String) -> SignalEffect {
        now < end ? .holds(until: end) : .ignored(why: why)
    }
}
