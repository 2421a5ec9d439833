import IdleDetector

/// Turns what is true of one source into the signal that its probe makes of it, look by look.
struct SourceSampler {
    /// What the last look saw; nil: nothing there.
    private(set) var signal: Signal?
    private let source: Source
    private var phase = 0
    private var happening = 0
    private var load = 0
    /// When the meter was read last.
    private var lastSample: Millis = 0
    /// The last 8 s in which a terminal's time of access was written: the kernel writes it once in each.
    private var lastBucket: Millis = -1

    init(_ source: Source) { self.source = source }

    /// When the next look sees something new; nil: never again.
    mutating func nextLook(after now: Millis, _ truth: Truth) -> Millis? {
        var next = Millis.max
        if phase < source.phases.count { next = source.phases[phase].from }
        if happening < source.happenings.count { next = min(next, source.happenings[happening].at) }
        var look = next == .max ? Millis.max : truth.look(source.probe, from: max(next, now + 1))
        if let sample = nextSample(after: now, truth) { look = min(look, sample) }
        return look == .max ? nil : look
    }

    private mutating func nextSample(after now: Millis, _ truth: Truth) -> Millis? {
        while load < source.loads.count, source.loads[load].to <= lastSample { load += 1 }
        guard load < source.loads.count else { return nil }
        let begin = source.loads[load].from
        if begin > lastSample {
            // Nothing was used meanwhile: the readings in between say so and are left out.
            let aligned = begin - (begin - lastSample) % Probe.window
            if truth.look(source.probe, from: aligned) < begin + source.probeInterval { lastSample = aligned }
        }
        return truth.look(source.probe, from: max(lastSample + Probe.window, now + 1))
    }

    /// Whether the look at `now` sees another thing than the one before. Times in signals are counted from `boot`.
    mutating func look(at now: Millis, boot: Millis) -> Bool {
        var isChanged = false
        let before = phase
        while phase < source.phases.count, source.phases[phase].from <= now { phase += 1 }
        // Ports are named when they are used.
        if phase != before, source.probe != .web {
            isChanged = enter(source.phases[phase - 1], at: now, boot: boot)
        }
        var happened = false
        while happening < source.happenings.count, source.happenings[happening].at <= now {
            let at = source.happenings[happening].at
            if source.probe != .terminals || at / Self.bucket != lastBucket { happened = true }
            lastBucket = at / Self.bucket
            happening += 1
        }
        if !source.loads.isEmpty, now - lastSample >= Probe.window {
            if used(lastSample, now) >= Self.floor * Double(now - lastSample) { happened = true }
            lastSample = now
        }
        if happened, source.probe == .web, signal == nil {
            _ = enter(source.phases[0], at: now, boot: boot)
        }
        if happened, signal != nil {
            signal?.changedAt = Moment(milliseconds: now - boot)
            isChanged = true
        }
        return isChanged
    }

    /// samd ended.
    mutating func clear() { signal = nil }

    /// Another samd looks for the first time: it knows nothing of before.
    mutating func forget(at now: Millis, boot: Millis) {
        while happening < source.happenings.count, source.happenings[happening].at <= now { happening += 1 }
        while phase < source.phases.count, source.phases[phase].from <= now { phase += 1 }
        lastSample = now
        signal = nil
        if phase > 0, source.probe != .web { _ = enter(source.phases[phase - 1], at: now, boot: boot) }
    }

    private mutating func enter(_ phase: Phase, at now: Millis, boot: Millis) -> Bool {
        let before = signal
        guard let kind = phase.kind else {
            signal = nil
            return before != nil
        }
        let moment = Moment(milliseconds: now - boot)
        var next =
            before
            ?? Signal(
                id: source.id, kind: kind, subject: source.subject, since: moment, belongsTo: source.belongsTo
            )
        if next.kind != kind { next.since = moment }
        next.kind = kind
        next.until = phase.until.map { Moment(milliseconds: $0 - boot) }
        if kind == .orphan { next.belongsTo = nil }
        signal = next
        return next != before
    }

    private func used(_ from: Millis, _ to: Millis) -> Double {
        var sum = 0.0
        for load in source.loads[load...] {
            if load.from >= to { break }
            sum += load.share * Double(max(0, min(load.to, to) - max(load.from, from)))
        }
        return sum
    }

    /// Of a core: below it is no progress.
    private static let floor = 0.03
    private static let bucket: Millis = 8 * .second
}

extension Source {
    fileprivate var probeInterval: Millis { probe?.interval ?? .second }
}
