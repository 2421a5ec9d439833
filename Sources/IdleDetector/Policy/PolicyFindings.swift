/// What the rules found in one evaluation.
struct Findings {
    var holding: [IdleVerdict.Reason] = []
    var ignored: [IdleVerdict.Ignored] = []
    var alarms: [IdleVerdict.Alarm] = []
    var effects: [String: SignalEffect] = [:]
    /// Ids of what holds, and is itself the activity while it does.
    var held: [String] = []
    /// Ids of what holds only for a moment after its progress.
    var windows: Set<String> = []
    /// A busy Claude made no progress up to its cap: it may still work, so the disk is kept.
    var needsImage = false
    /// What will hold later on although no signal changes: wake-ups that are too far away now.
    var later: [(from: Moment, until: Moment)] = []

    mutating func add(_ signal: Signal, _ effect: SignalEffect, now: Moment, memory: inout IdlePolicy.Memory)
    {
        effects[signal.id] = effect
        switch effect {
        case .holds(let until):
            hold(signal, until: until)
            held.append(signal.id)
        case .progresses(let at, let until):
            memory.touch(signal, at: at, isHuman: false)
            hold(signal, until: until)
            windows.insert(signal.id)
        case .touches(let at, let isHuman):
            memory.touch(signal, at: at, isHuman: isHuman)
        case .touchesWeakly(let at, let why):
            memory.touchWeakly(signal, at: at)
            ignore(signal, why)
        case .capped(let at, let why, let alarm):
            ignore(signal, why)
            if let alarm {
                alarms.append(
                    IdleVerdict.Alarm(
                        kind: alarm, id: signal.id, text: "\(SignalWords.text(signal)): \(why)", since: at))
            }
            if signal.kind == .claudeBusy { needsImage = true }
        case .holdsLater(let from, let until, let why):
            ignore(signal, why)
            later.append((from, until))
        case .ignored(let why):
            ignore(signal, why)
        }
    }

    private mutating func hold(_ signal: Signal, until: Moment?) {
        holding.append(
            IdleVerdict.Reason(
                id: signal.id, kind: signal.kind, text: SignalWords.text(signal), since: signal.since,
                changedAt: signal.changedAt, until: until))
    }

    private mutating func ignore(_ signal: Signal, _ why: String) {
        ignored.append(
            IdleVerdict.Ignored(
                id: signal.id, kind: signal.kind, text: SignalWords.text(signal), why: why))
    }
}
