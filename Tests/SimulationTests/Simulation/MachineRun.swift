import IdleDetector

/// One machine from its begin to its end: the truth passes, probes look, the judge judges, and everything is checked.
struct MachineRun {
    typealias MakeJudge = (IdleSettings, Moment) -> any Judge

    let truth: Truth
    private let makeJudge: MakeJudge
    private let trace: ((String) -> Void)?
    private var random: SplitMix64
    private var judge: any Judge
    private var samplers: [SourceSampler]
    private var queue = EventQueue()
    /// When each source is looked at next, and when the snapshot that holds it comes.
    private var looks: [Millis]
    private var deliveries: [Millis]
    private var mustForget: [Bool]
    private var reports: [ProbeReport]
    private var boot: Millis = 0
    private var outage: Outage?
    private var interruption: Signal?
    private var interruptions = 0
    /// A samd that began has no evidence before.
    private var evaluatesFrom: Millis = 0
    private var review: Millis?
    private var verdict: IdleVerdict?
    private var isChanged = true
    private var notes = 0
    var audit: Audit

    private enum Rank {
        static let outageEnd = 0
        static let outageBegin = 1_000_000
        static let report = 2_000_000
        static let recovery = 3_000_000
        static let silence = 4_000_000
        static let save = 5_000_000
        static let source = 6_000_000
    }

    init(_ truth: Truth, makeJudge: @escaping MakeJudge, trace: ((String) -> Void)? = nil) {
        self.truth = truth
        self.makeJudge = makeJudge
        self.trace = trace
        random = SplitMix64(seed: truth.seed ^ 0x5EED)
        judge = makeJudge(truth.settings, Moment(milliseconds: 0))
        samplers = truth.sources.map(SourceSampler.init)
        looks = Array(repeating: 0, count: truth.sources.count)
        deliveries = Array(repeating: -1, count: truth.sources.count)
        mustForget = Array(repeating: false, count: truth.sources.count)
        reports = Probe.allCases.map { ProbeReport(name: $0.name) }
        audit = Audit(truth)
    }

    mutating func run() throws -> Tally {
        for index in truth.outages.indices { plan(outage: index) }
        startWatching(at: 0, isNew: true)
        var tick = Millis.minute
        while true {
            let now = min(queue.first?.at ?? .max, tick, review ?? .max)
            guard now < truth.length else { break }
            tell(until: now)
            while let event = queue.first, event.at <= now {
                _ = queue.pop()
                try handle(event, now: now)
            }
            let isDue = review.map { $0 <= now } ?? false
            if let outage, !outage.isBlindness {
                if isDue { review = outage.to }
            } else if now >= evaluatesFrom, isChanged || isDue || (now == tick && random.chance(0.02)) {
                evaluate(at: now)
            }
            if now == tick {
                audit.tick(now, verdict: verdict, outage: outage, signals: signals)
                tick += .minute
            }
        }
        return audit.result()
    }

    // MARK: Outages

    private mutating func plan(outage index: Int) {
        let outage = truth.outages[index]
        switch outage.kind {
        case .blind(let probe):
            let interval = probe.interval
            let offset = truth.offsets[probe.rawValue]
            let failing = offset + (outage.from - offset + interval - 1) / interval * interval
            guard failing < outage.to else { return }
            let delay = truth.delays[probe.rawValue]
            queue.push(.init(at: failing + delay, rank: Rank.report + index))
            queue.push(
                .init(at: truth.look(probe, from: outage.to) + delay, rank: Rank.recovery + probe.rawValue))
        case .hang:
            guard outage.to - outage.from > Outage.patience else { return }
            queue.push(.init(at: outage.from + Outage.patience, rank: Rank.silence))
            queue.push(.init(at: outage.to + Outage.recovery, rank: Rank.silence))
        case .pause, .restart, .reboot:
            queue.push(.init(at: outage.from, rank: Rank.outageBegin + index))
            queue.push(.init(at: outage.to, rank: Rank.outageEnd + index))
            if case .restart(let isKilled) = outage.kind {
                // It is written down once a minute, and at an orderly end.
                let age = isKilled ? random.between(0, .minute) : 1
                queue.push(.init(at: outage.from - age, rank: Rank.save))
            }
            if outage.kind == .pause {
                queue.push(.init(at: outage.to + Outage.recovery, rank: Rank.silence))
            }
        }
    }

    private mutating func handle(_ event: EventQueue.Event, now: Millis) throws {
        switch event.rank {
        case Rank.source...: deliver(event.rank - Rank.source, now: now)
        case Rank.save...:
            // The daemon decides every few seconds and not at changes alone; all but this one would tell nothing.
            if outage == nil, now >= evaluatesFrom { evaluate(at: now) }
            try judge.save()
        case Rank.silence...: isChanged = true
        case Rank.recovery...: recover(Probe.allCases[event.rank - Rank.recovery], now: now)
        case Rank.report...: fail(truth.outages[event.rank - Rank.report], now: now)
        case Rank.outageBegin...: begin(truth.outages[event.rank - Rank.outageBegin], now: now)
        default: try end(truth.outages[event.rank], now: now)
        }
    }

    private mutating func fail(_ outage: Outage, now: Millis) {
        guard case .blind(let probe) = outage.kind else { return }
        reports[probe.rawValue].failingSince = moment(now - truth.delays[probe.rawValue])
        reports[probe.rawValue].reason = "simulated"
        isChanged = true
    }

    private mutating func recover(_ probe: Probe, now: Millis) {
        reports[probe.rawValue] = ProbeReport(
            name: probe.name, lastLook: moment(now - truth.delays[probe.rawValue]))
        isChanged = true
    }

    private mutating func begin(_ outage: Outage, now: Millis) {
        self.outage = outage
        guard outage.kind == .reboot, let verdict else { return }
        // What the daemon writes down: that something worked, and how many times in a row that was so.
        if verdict.lastHuman != nil { interruptions = 0 }
        let worked = verdict.holding.contains { $0.kind?.isWork == true && $0.kind != .wakeUp }
        if worked { interruptions += 1 }
        interruption =
            worked && interruptions <= truth.settings.interruptionLimit
            ? Signal(id: "interrupted", kind: .interrupted, subject: "a reboot", since: .boot) : nil
    }

    private mutating func end(_ outage: Outage, now: Millis) throws {
        self.outage = nil
        switch outage.kind {
        case .reboot:
            boot = now - 20 * .second
            judge = makeJudge(truth.settings, moment(now))
            if var granted = interruption {
                granted.since = moment(now)
                granted.until = granted.since + truth.settings.interruptionGrant
                interruption = granted
            }
            verdict = nil
            startWatching(at: now, isNew: true)
        case .restart:
            try judge.restart(at: moment(now))
            startWatching(at: now, isNew: false)
        case .pause: isChanged = true
        case .blind, .hang: break
        }
        audit.ended(outage, now: now, interruptedUntil: interruption?.until.map { $0.milliseconds + boot })
    }

    /// A samd that knows nothing of what its probes saw before: all of them look in its first round, and before it has
    /// their evidence it decides nothing.
    private mutating func startWatching(at now: Millis, isNew: Bool) {
        let first = now + .second
        evaluatesFrom = first
        review = first
        for probe in Probe.allCases {
            let isBlind = truth.outages.contains { outage in
                outage.hits(probe) && outage.from <= first && first < outage.to
            }
            reports[probe.rawValue] = ProbeReport(name: probe.name, lastLook: isBlind ? nil : moment(first))
        }
        for index in samplers.indices {
            let source = truth.sources[index]
            if source.begin <= first, now > 0 {
                samplers[index].clear()
                mustForget[index] = true
                looks[index] = truth.look(source.probe, from: first, isRound: true)
                deliveries[index] = looks[index]
                queue.push(.init(at: looks[index], rank: Rank.source + index))
            } else if let look = samplers[index].nextLook(after: now, truth) {
                schedule(index, look: look, now: now)
            }
        }
        isChanged = true
        if isNew { audit.began(at: now) }
    }

    /// The probes' thread as a probe: it cannot look when it says nothing.
    private func thread(_ now: Millis) -> ProbeReport {
        let silence = truth.outages.first {
            $0.isSilence && $0.from + Outage.patience <= now && now < $0.to + Outage.recovery
                && $0.to - $0.from > Outage.patience
        }
        return ProbeReport(
            name: "monitor", lastLook: moment(silence?.from ?? now),
            failingSince: silence.map { moment($0.from) })
    }

    // MARK: Looks

    private mutating func schedule(_ index: Int, look: Millis, now: Millis) {
        let delay = truth.sources[index].probe.map { truth.delays[$0.rawValue] } ?? 0
        looks[index] = look
        deliveries[index] = max(look + delay, now)
        queue.push(.init(at: deliveries[index], rank: Rank.source + index))
    }

    private mutating func deliver(_ index: Int, now: Millis) {
        guard deliveries[index] == now else { return }
        if let outage, !outage.isBlindness {
            // Seen before samd stood still; a samd that ends looks anew afterwards.
            if outage.kind == .pause {
                deliveries[index] = outage.to
                queue.push(.init(at: outage.to, rank: Rank.source + index))
            }
            return
        }
        if mustForget[index] {
            samplers[index].forget(at: looks[index], boot: boot)
            mustForget[index] = false
            isChanged = true
        } else if samplers[index].look(at: looks[index], boot: boot) {
            isChanged = true
        }
        if let next = samplers[index].nextLook(after: looks[index], truth) {
            schedule(index, look: next, now: now + 1)
        }
    }

    private var signals: [Signal] {
        var signals = samplers.compactMap(\.signal)
        if let interruption, interruption.until != nil { signals.append(interruption) }
        return signals
    }

    private func moment(_ time: Millis) -> Moment { Moment(milliseconds: max(0, time - boot)) }

    // MARK: The verdict

    private mutating func evaluate(at now: Millis) {
        for probe in Probe.allCases
        where reports[probe.rawValue].lastLook != nil && reports[probe.rawValue].failingSince == nil {
            reports[probe.rawValue].lastLook = moment(lastLook(probe, now))
        }
        let signals = signals
        let next = judge.evaluate(
            ActivitySnapshot(at: moment(now), signals: signals, probes: reports + [thread(now)]),
            at: moment(now))
        let before = verdict
        audit.judged(
            now, next, before: isChanged ? nil : before, signals: signals, boot: boot,
            isOnTime: review.map { $0 >= now } ?? true)
        if let trace, before?.state != next.state || before?.holding.map(\.id) != next.holding.map(\.id) {
            trace("\(now.clockText)  \(next.summary(boot: boot))")
        }
        // Written down at once when the answer is another one.
        if before?.state != next.state { try? judge.save() }
        verdict = next
        review = next.reviewAt.map { $0.milliseconds + boot }
        isChanged = false
    }

    private func lastLook(_ probe: Probe, _ now: Millis) -> Millis {
        let offset = truth.offsets[probe.rawValue]
        var look = now - truth.delays[probe.rawValue]
        look -= ((look - offset) % probe.interval + probe.interval) % probe.interval
        for outage in truth.outages where outage.from <= look && look < outage.to && outage.hits(probe) {
            look = outage.from
        }
        return max(look, boot)
    }

    private mutating func tell(until now: Millis) {
        guard let trace else { return }
        while notes < truth.notes.count, truth.notes[notes].at <= now {
            trace("\(truth.notes[notes].at.clockText)  · \(truth.notes[notes].text)")
            notes += 1
        }
    }
}

extension IdleVerdict {
    /// In one line, with times of the simulated machine.
    func summary(boot: Millis) -> String {
        let holds = holding.map {
            "\($0.text)\($0.until.map { " until \(($0.milliseconds + boot).clockText)" } ?? "")"
        }
        let end = deadline.map { ", idle at \(($0.milliseconds + boot).clockText)" } ?? ""
        let last = "\(lastActivity.text) at \((lastActivity.since.milliseconds + boot).clockText)"
        return
            "\(state.rawValue.uppercased())\(end): \(holds.isEmpty ? "last: \(last)" : holds.joined(separator: "; "))"
    }
}
