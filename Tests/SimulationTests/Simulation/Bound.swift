import IdleDetector

/// A bound of the last activity, worked out from the truth and the settings alone, never from signals or verdicts.
///
/// The *least* bound counts what must count (surely visible by now, surely a human's, surely progress): before it plus the
/// threshold nothing may call the machine idle. The *most* bound counts all that may count, as late as it may be seen:
/// past it plus the threshold nothing may keep the machine.
struct Bound {
    enum Side { case least, most }

    /// The newest thing of a rank, and the source that did it.
    struct Mark {
        var at: Millis = 0
        var source = -1

        mutating func raise(_ at: Millis, _ source: Int) {
            if at > self.at { (self.at, self.source) = (at, source) }
        }
    }

    private struct State {
        var happening = 0
        var phase = 0
        var streakStart: Millis = 0
        var streakLast: Millis = -1
        /// Progress of the present phase.
        var progress: Millis = 0
    }

    let side: Side
    private(set) var strong = Mark()
    private(set) var weak = Mark()
    private(set) var human: Millis = 0
    /// The last boot.
    private(set) var began: Millis = 0
    private(set) var beyondFiles: Millis = 0
    /// Whether a Claude asks its user.
    private(set) var isAsking = false
    private var toolProgress: [String: Millis] = [:]
    private var states: [State]
    /// Sources by the time they begin, those that begun and count still, and how far the first are the second.
    private let pending: [Int]
    private var live: [Int] = []
    private var begun = 0
    private let settings: MillisSettings

    init(_ side: Side, _ truth: Truth) {
        self.side = side
        settings = MillisSettings(truth.settings)
        states = Array(repeating: State(), count: truth.sources.count)
        pending = truth.sources.indices.filter { truth.sources[$0].phases.first != nil }
            .sorted { truth.sources[$0].begin < truth.sources[$1].begin }
    }

    /// Humans first, tools before their Claudes, files after everything.
    private static func rank(_ source: Source) -> Int {
        switch source.phases.first?.kind {
        case .terminal, .webPerson: 0
        case .tool: 1
        case .files: 3
        default: 2
        }
    }

    /// The bound, and whose doing it is.
    var last: Mark {
        let capped = min(weak.at, strong.at + settings.weakLimit)
        return capped > strong.at ? Mark(at: capped, source: weak.source) : strong
    }

    /// The machine is kept, though no source says so.
    mutating func keep(_ now: Millis) { count(now, -1) }

    /// A boot, or a start of samd with nothing remembered.
    mutating func begin(at now: Millis) {
        began = now
        strong.raise(now, -1)
        weak = Mark()
        human = max(human, now)
        beyondFiles = max(beyondFiles, now)
        for index in states.indices { states[index].streakLast = -1 }
    }

    /// samd began to watch again, and may take that for an activity.
    mutating func restart(at now: Millis, after gap: Millis) {
        if side == .most {
            weak.raise(now, -1)
            // What was written down may be a minute old.
            if gap + 90 * .second > settings.blindGrace { count(now, -1) }
        }
    }

    mutating func advance(to now: Millis, _ truth: Truth) {
        isAsking = false
        while begun < pending.count, truth.sources[pending[begun]].begin <= now {
            let rank = Self.rank(truth.sources[pending[begun]])
            let place = live.firstIndex { Self.rank(truth.sources[$0]) > rank } ?? live.count
            live.insert(pending[begun], at: place)
            begun += 1
        }
        var staying: [Int] = []
        for index in live {
            let source = truth.sources[index]
            switch source.phases[0].kind ?? .ssh {
            case .terminal, .webPerson: people(index, source, now, truth)
            case .webBackground, .transfer: background(index, source, now, truth)
            case .files: files(index, source, now, truth)
            case .job, .agent: jobs(index, source, now, truth)
            case .ssh, .terminalPane: continue
            default: phases(index, source, now, truth)
            }
            // What happened last may be seen late.
            if source.end + .day >= now { staying.append(index) }
        }
        live = staying
    }

    private func latency(_ source: Source, _ truth: Truth) -> Millis { truth.latency(source.probe) }

    /// When something of the source's that is true at `time` is seen at the latest, beyond the ordinary latency.
    private func seen(_ time: Millis, _ source: Source, _ truth: Truth) -> Millis {
        side == .least ? time : truth.look(source.probe, from: time) + latency(source, truth)
    }

    private mutating func count(_ at: Millis, _ index: Int, isFiles: Bool = false) {
        strong.raise(at, index)
        if !isFiles { beyondFiles = max(beyondFiles, at) }
    }

    // MARK: Kinds of sources

    private mutating func forEachHappening(
        _ index: Int, _ source: Source, until horizon: Millis, _ act: (inout Bound, Happening) -> Void
    ) {
        var next = states[index].happening
        while next < source.happenings.count, source.happenings[next].at <= horizon {
            act(&self, source.happenings[next])
            next += 1
        }
        states[index].happening = next
    }

    /// Whether what happens at `time` comes after such a long time without a pause that a program must do it: surely
    /// (for the most bound), or perhaps (for the least).
    private mutating func isSteady(_ time: Millis, _ index: Int, _ source: Source, _ truth: Truth) -> Bool {
        let slack = 2 * latency(source, truth) + 16 * .second
        let pause = side == .least ? settings.steadyPause + slack : settings.steadyPause - slack
        let last = states[index].streakLast
        // Where nobody could look, a pause may have been.
        let isInterrupted =
            side == .most
            && truth.outages.contains {
                $0.hits(source.probe) && last < $0.to && $0.from <= time
                    && ($0.to - $0.from + 2 * slack >= settings.steadyPause || source.probe == .web
                        || $0.isRestart)
            }
        if last < 0 || isInterrupted || time - last >= pause {
            states[index].streakStart = time
        }
        states[index].streakLast = time
        let length = side == .least ? settings.steadyLimit - slack : settings.steadyLimit + slack
        return time - states[index].streakStart >= length
    }

    /// Whether a short restart may have swallowed it: such a restart is a weak touch itself.
    private func isLost(_ time: Millis, _ source: Source, _ truth: Truth) -> Bool {
        side == .least
            && truth.outages.contains {
                $0.isRestart && $0.to - $0.from < settings.blindGrace
                    && $0.from - latency(source, truth) <= time && time <= $0.to + 2 * .second
            }
    }

    private mutating func people(_ index: Int, _ source: Source, _ now: Millis, _ truth: Truth) {
        let horizon = side == .least ? now - latency(source, truth) : now
        forEachHappening(index, source, until: horizon) { bound, happening in
            let isSteady = bound.isSteady(happening.at, index, source, truth)
            if bound.side == .least {
                // What is gone before the next look was never seen.
                let gone = source.phases.last?.from ?? 0
                if !happening.isReal || gone < truth.look(source.probe, from: happening.at) + 1 { return }
            }
            // A terminal's time of access stands still for 8 s.
            let at =
                bound.side == .least ? happening.at - 8 * .second : bound.seen(happening.at, source, truth)
            if isSteady || bound.isLost(happening.at, source, truth) {
                bound.weak.raise(at, index)
            } else {
                bound.count(at, index)
                bound.human = max(bound.human, at)
            }
        }
    }

    private mutating func background(_ index: Int, _ source: Source, _ now: Millis, _ truth: Truth) {
        let horizon = side == .least ? now - latency(source, truth) : now
        forEachHappening(index, source, until: horizon) { bound, happening in
            if bound.side == .least, !happening.isReal { return }
            bound.weak.raise(bound.seen(happening.at, source, truth), index)
        }
    }

    private mutating func files(_ index: Int, _ source: Source, _ now: Millis, _ truth: Truth) {
        let horizon = side == .least ? now - latency(source, truth) : now
        let slack = 2 * latency(source, truth) + 16 * .second
        forEachHappening(index, source, until: horizon) { bound, happening in
            let isSteady = bound.isSteady(happening.at, index, source, truth)
            if bound.side == .least, !happening.isReal { return }
            let at = bound.seen(happening.at, source, truth)
            // Seen a little later than it is, a change may already be past the cap.
            let soonest = happening.at + (bound.side == .least ? slack : 0)
            guard soonest < bound.beyondFiles + bound.settings.filesCap else { return }
            if isSteady || bound.isLost(happening.at, source, truth) {
                bound.weak.raise(at, index)
            } else {
                bound.count(at, index, isFiles: true)
            }
        }
    }

    /// The last progress up to `now` of loads from `since` on; nil: none.
    private func progress(_ source: Source, since: Millis, _ now: Millis, _ truth: Truth) -> Millis? {
        var last: Millis?
        for load in source.loads where load.from <= now {
            if side == .most {
                guard load.share >= 0.01, load.to > since else { continue }
                let end = seen(min(load.to, now), source, truth) + Probe.window
                last = max(last ?? 0, min(end, now))
            } else {
                // However the meter's windows lie, one of them is within it.
                let span = 2 * Probe.window + latency(source, truth)
                var end = min(load.to, now - latency(source, truth))
                // What ended while nobody could look was not seen to work up to its end.
                for outage in truth.outages
                where outage.hits(source.probe) && outage.from < load.to && load.to < outage.to + span {
                    end = min(end, outage.from)
                }
                guard load.share >= 0.06, end - load.from >= span else { continue }
                last = max(last ?? 0, end - span)
            }
        }
        return last.map { max($0, since) }
    }

    private mutating func jobs(_ index: Int, _ source: Source, _ now: Millis, _ truth: Truth) {
        if let last = progress(source, since: 0, now, truth) { count(last, index) }
    }

    /// What holds while it is there: sessions, tools, orphans, wake-ups, holds, samd's own work.
    private mutating func phases(_ index: Int, _ source: Source, _ now: Millis, _ truth: Truth) {
        let lag = latency(source, truth)
        var number = states[index].phase
        while number < source.phases.count, source.phases[number].from <= now {
            let phase = source.phases[number]
            let next = number + 1 < source.phases.count ? source.phases[number + 1].from : Millis.max
            enter(phase, index, source, now: now, next: next, lag: lag, truth)
            // Until nobody can take it for the present any more.
            let gone =
                side == .least || next == .max ? next : truth.look(source.probe, from: next) + lag
            hold(phase, index, source, to: gone, now: now, lag: lag, truth)
            number += 1
            if gone <= now { states[index].phase = number }
        }
    }

    /// A session that begins or changes is an activity of its own.
    private mutating func enter(
        _ phase: Phase, _ index: Int, _ source: Source, now: Millis, next: Millis, lag: Millis, _ truth: Truth
    ) {
        guard source.phases[0].kind?.isSession == true else { return }
        if side == .most {
            let at = seen(phase.from, source, truth)
            count(min(at, now), index)
        } else if next - phase.from > lag, now >= phase.from + lag,
            truth.look(source.probe, from: phase.from) < min(phase.from + lag, next)
        {
            count(phase.from, index)
        }
    }

    private mutating func hold(
        _ phase: Phase, _ index: Int, _ source: Source, to: Millis, now: Millis, lag: Millis, _ truth: Truth
    ) {
        guard let kind = phase.kind else { return }
        let from = phase.from
        // As far as it must, or may, be known that it is still there.
        let present = side == .least ? min(to, now - lag) : min(to, now)
        guard present >= from else { return }
        switch kind {
        case .claudeAsking:
            if side == .most ? now <= to : now - lag >= from && now < to { isAsking = true }
        case .claudeUnknown: count(present, index)
        case .claudeBusy: capped(index, source, from, present, settings.busyCap, now, truth)
        case .claudeShell, .tool, .orphan:
            capped(index, source, from, present, settings.silentCap, now, truth)
        case .operation: capped(index, source, from, present, settings.operationCap, now, truth)
        case .wakeUp:
            guard let due = phase.until else { return }
            // Whether it holds is known for the present only.
            let end = min(due + settings.wakeUpGrace, human + settings.wakeUpCap)
            let slack = side == .most ? lag : -lag
            guard due - present <= settings.wakeUpHorizon + slack else { return }
            count(min(present, end), index)
        case .hold: count(min(present, phase.until ?? .max, human + settings.holdCap), index)
        case .interrupted: count(min(present, phase.until ?? .max), index)
        default: break
        }
    }

    private mutating func capped(
        _ index: Int, _ source: Source, _ from: Millis, _ present: Millis, _ cap: Millis, _ now: Millis,
        _ truth: Truth
    ) {
        var last = max(states[index].progress, from)
        if side == .most { last = max(last, seen(from, source, truth)) }
        forEachHappening(index, source, until: side == .least ? now - latency(source, truth) : now) {
            bound, happening in
            if happening.at >= from { last = max(last, bound.seen(happening.at, source, truth)) }
        }
        if let progress = progress(source, since: from, now, truth) { last = max(last, progress) }
        if let tools = toolProgress[source.id] { last = max(last, tools) }
        if side == .most {
            // Another samd sees it for the first time.
            for outage in truth.outages where outage.isRestart && outage.to <= now && outage.to > from {
                last = max(last, outage.to + latency(source, truth))
            }
        }
        last = min(last, now)
        states[index].progress = last
        if let owner = source.belongsTo, source.phases[0].kind == .tool, present >= from {
            toolProgress[owner] = max(toolProgress[owner] ?? 0, last)
        }
        count(min(present, last + cap), index)
    }
}

extension Signal.Kind {
    fileprivate var isSession: Bool {
        switch self {
        case .claudeBusy, .claudeShell, .claudeAsking, .claudePrompt, .claudeUnknown: true
        default: false
        }
    }
}

/// `IdleSettings` in virtual time.
struct MillisSettings {
    var threshold, waitingThreshold, busyCap, silentCap, wakeUpHorizon, wakeUpGrace, wakeUpCap: Millis
    var holdCap, operationCap, interruptionGrant, weakLimit, steadyPause, steadyLimit, filesCap,
        blindGrace: Millis

    init(_ settings: IdleSettings) {
        threshold = settings.threshold.millis
        waitingThreshold = max(settings.threshold.millis, settings.waitingThreshold.millis)
        busyCap = settings.busyCap.millis
        silentCap = settings.silentCap.millis
        wakeUpHorizon = settings.wakeUpHorizon.millis
        wakeUpGrace = settings.wakeUpGrace.millis
        wakeUpCap = settings.wakeUpCap.millis
        holdCap = settings.holdCap.millis
        operationCap = settings.operationCap.millis
        interruptionGrant = settings.interruptionGrant.millis
        weakLimit = settings.weakLimit.millis
        steadyPause = settings.steadyPause.millis
        steadyLimit = settings.steadyLimit.millis
        filesCap = settings.filesCap.millis
        blindGrace = settings.blindGrace.millis
    }
}
