import IdleDetector

/// Holds verdicts against the truth, and counts what they cost.
struct Audit {
    private let truth: Truth
    private let settings: MillisSettings
    private var least: Bound
    private var most: Bound
    private var useful: Usefulness
    private var naive: NaiveScript
    private var naiveFiles: NaiveScript
    private var accounts: [Account]
    private var tally = Tally()
    private var interruptedUntil: Millis = 0
    /// The end of the last time in which samd did not watch, or a probe could not.
    private var troubledUntil: Millis = 0
    private var nextOutage = 0
    private var blindUntil: Millis = 0
    private var lastState = IdleVerdict.State.active
    private var standing: Set<String> = []
    private var boot: Millis = 0

    /// Rules of which one violation is told; more on the same machine mostly are the same one.
    private var violated: Set<Violation.Rule> = []
    private static let step: Millis = .minute
    private static let settling = 4 * Probe.window

    init(_ truth: Truth) {
        self.truth = truth
        settings = MillisSettings(truth.settings)
        least = Bound(.least, truth)
        most = Bound(.most, truth)
        useful = Usefulness(truth)
        naive = NaiveScript(truth, looksAtFilesOnly: false)
        naiveFiles = NaiveScript(truth, looksAtFilesOnly: true)
        accounts = Array(repeating: Account(truth), count: 3)
        tally.machines = 1
        tally.days = Int(truth.length / .day)
    }

    mutating func result() -> Tally {
        (tally.ours, tally.naive, tally.naiveFiles) = (
            accounts[0].losses, accounts[1].losses, accounts[2].losses
        )
        return tally
    }

    mutating func began(at now: Millis) {
        least.begin(at: now)
        most.begin(at: now)
        lastState = .active
    }

    mutating func ended(_ outage: Outage, now: Millis, interruptedUntil: Millis?) {
        troubledUntil = now
        self.interruptedUntil = interruptedUntil ?? 0
        if case .restart = outage.kind { most.restart(at: now, after: outage.to - outage.from) }
    }

    // MARK: Checks

    /// `before`: the verdict before, if nothing changed since.
    mutating func judged(
        _ now: Millis, _ verdict: IdleVerdict, before: IdleVerdict?, signals: [Signal], boot: Millis,
        isOnTime: Bool
    ) {
        self.boot = boot
        tally.evaluations += 1
        let evidence = Evidence(verdict: verdict, signals: signals)
        for alarm in verdict.alarms where standing.insert("\(alarm.kind) \(alarm.id)").inserted {
            tally.alarms[alarm.kind.rawValue, default: 0] += 1
        }
        checkReasons(now, verdict, evidence)
        if let before { checkDeadline(now, verdict, before, isOnTime: isOnTime, evidence) }
        if verdict.state == .idle {
            follow(now)
            checkNotTooEarly(now, evidence)
            if lastState != .idle {
                checkNotTooLate(now, evidence)
                if let human = useful.lastHuman(now), now - human < settings.threshold - Self.step,
                    human > least.began, !isDark(now)
                {
                    tally.humansCutOff += 1
                }
            }
        }
        lastState = verdict.state
    }

    /// Whether what happens now may be unseen.
    private func isDark(_ now: Millis) -> Bool {
        now < blindUntil || truth.outages.contains { $0.from <= now && now < $0.to + Self.settling }
    }

    private mutating func follow(_ now: Millis) {
        least.advance(to: now, truth)
        most.advance(to: now, truth)
        if interruptedUntil > 0 {
            least.keep(min(now - .second, interruptedUntil))
            most.keep(min(now, interruptedUntil))
        }
        while nextOutage < truth.outages.count, truth.outages[nextOutage].from <= now {
            let outage = truth.outages[nextOutage]
            if outage.isBlindness {
                // Whoever could not look may take a few windows to know what goes on.
                blindUntil = max(blindUntil, outage.to + Self.settling)
            }
            nextOutage += 1
        }
    }

    private mutating func checkNotTooEarly(_ now: Millis, _ evidence: Evidence) {
        // A silence is noticed after a while.
        let isUnnoticed = truth.outages.contains {
            $0.isSilence && $0.from <= now
                && now < min($0.to, $0.from + Outage.patience) + Outage.recovery + 30 * .second
                && (now < $0.from + Outage.patience || $0.to - $0.from <= Outage.patience)
        }
        if isUnnoticed { return }
        let limit = least.isAsking ? settings.waitingThreshold : settings.threshold
        if now < least.last.at + limit {
            let cause = name(least.last.source)
            violate(
                .cutsOff, now,
                "\(cause) counts until \(least.last.at.clockText) at least, and \(limit / .minute) min more",
                evidence)
        }
        for outage in truth.outages {
            guard case .blind(let probe) = outage.kind else { continue }
            let known = outage.from + truth.latency(probe) + settings.blindGrace
            if known <= now, now < outage.to { violate(.blindIdle, now, "\(probe.name) is blind", evidence) }
        }
    }

    private mutating func checkNotTooLate(_ now: Millis, _ evidence: Evidence) {
        guard now > blindUntil, now > troubledUntil + 3 * .minute else { return }
        let limit = most.isAsking ? settings.waitingThreshold : settings.threshold
        if now > most.last.at + limit + Self.step {
            let cause = name(most.last.source)
            violate(
                .late, now,
                "\(cause) counts until \(most.last.at.clockText) at most, and \(limit / .minute) min more",
                evidence)
        }
    }

    private mutating func checkDeadline(
        _ now: Millis, _ verdict: IdleVerdict, _ before: IdleVerdict, isOnTime: Bool, _ evidence: Evidence
    ) {
        guard before.state != .idle else {
            // A wake-up comes nearer by itself.
            if verdict.state != .idle, !verdict.holding.contains(where: { $0.kind == .wakeUp }) {
                violate(.deadline, now, "idle no more although nothing changed", evidence)
            }
            return
        }
        let announced = before.deadline.map { $0.milliseconds + boot }
        if verdict.state == .idle {
            if announced.map({ isOnTime ? abs(now - $0) > .second : $0 > now }) ?? true {
                violate(
                    .deadline, now, "idle now, but announced was \(announced?.clockText ?? "never")", evidence
                )
            }
        } else if verdict.deadline == nil, verdict.holding.contains(where: { $0.kind == nil }) {
            // A probe was taken for only briefly blind, and is not.
            return
        } else if before.deadline != verdict.deadline {
            violate(
                .deadline, now, "nothing changed, but announced was \(announced?.clockText ?? "never")",
                evidence)
        } else if let announced, announced <= now {
            violate(.deadline, now, "announced was \(announced.clockText)", evidence)
        }
    }

    private mutating func checkReasons(_ now: Millis, _ verdict: IdleVerdict, _ evidence: Evidence) {
        let isExplained =
            switch verdict.state {
            case .active: !verdict.holding.isEmpty || verdict.deadline != nil
            case .waiting: verdict.deadline != nil
            case .idle: verdict.holding.isEmpty
            }
        let review = verdict.reviewAt
        if !isExplained || verdict.lastActivity.text.isEmpty {
            violate(.reasons, now, "no reason for \(verdict.state)", evidence)
        } else if review.map({ $0 <= verdict.at }) ?? false {
            violate(.reasons, now, "is to be reviewed in the past", evidence)
        } else if verdict.state != .idle, verdict.deadline != nil, review == nil {
            violate(.reasons, now, "has a deadline, but is never reviewed", evidence)
        }
    }

    private struct Evidence {
        var verdict: IdleVerdict
        var signals: [Signal]
    }

    private mutating func violate(_ rule: Violation.Rule, _ now: Millis, _ text: String, _ evidence: Evidence)
    {
        tally.violationCount += 1
        guard violated.insert(rule).inserted else { return }
        let boot = boot
        let signals = evidence.signals.map { signal in
            let changed = signal.changedAt.map { ", changed \(($0.milliseconds + boot).clockText)" } ?? ""
            let until = signal.until.map { ", until \(($0.milliseconds + boot).clockText)" } ?? ""
            let since = (signal.since.milliseconds + boot).clockText
            return "\(signal.kind.rawValue) \(signal.id), since \(since)\(changed)\(until)"
        }
        let recent = truth.notes.filter { $0.at <= now }.suffix(8).map { "\($0.at.clockText) · \($0.text)" }
        tally.violations.append(
            Violation(
                rule: rule, seed: truth.seed, days: tally.days, at: now, text: text,
                evidence: [evidence.verdict.summary(boot: boot)] + signals + recent))
    }

    private func name(_ source: Int) -> String {
        source < 0 ? "samd's start" : "\(truth.sources[source].id) (\(truth.sources[source].cause))"
    }

    // MARK: Accounts

    /// A minute later.
    mutating func tick(_ now: Millis, verdict: IdleVerdict?, outage: Outage?, signals: [Signal]) {
        follow(now)
        let last = useful.last(now)
        if last == now { tally.usefulHours += 1.0 / 60 }
        let isBlind = truth.outages.contains { $0.isBlindness && $0.from <= now && now < $0.to }
        if isBlind { tally.blindHours += 1.0 / 60 }
        naive.look(now)
        naiveFiles.look(now)
        if let verdict, outage == nil {
            let evidence = Evidence(verdict: verdict, signals: signals)
            if verdict.state != .idle { checkNotTooLate(now, evidence) }
        }
        let isWaste = now > last + settings.threshold
        let isHeldBlind =
            verdict?.holding.isEmpty == false && verdict?.holding.allSatisfy { $0.kind == nil } == true
        if isHeldBlind, isWaste { tally.heldBlindHours += 1.0 / 60 }
        var cause = most.last.source < 0 ? "start" : truth.sources[most.last.source].cause
        if isHeldBlind {
            cause = "blind probe"
        } else if verdict?.state == .waiting {
            cause = "question to the user"
        }
        accounts[0].minute(now, isIdle: verdict?.state == .idle, isWaste: isWaste, cause: cause, useful)
        accounts[1].minute(now, isIdle: naive.isIdle, isWaste: isWaste, cause: naive.cause, useful)
        accounts[2].minute(now, isIdle: naiveFiles.isIdle, isWaste: isWaste, cause: naiveFiles.cause, useful)
    }
}

/// What one decider costs on one machine.
private struct Account {
    var losses = Losses()
    private var isIdle = false
    private var destroyed: Set<Int> = []
    private var nextWork = 0
    /// Progress takes two windows to be seen.
    private static let noticing: Millis = 3 * .minute
    private let machine: (seed: UInt64, days: Int)

    init(_ truth: Truth) { machine = (truth.seed, Int(truth.length / .day)) }

    mutating func minute(_ now: Millis, isIdle: Bool, isWaste: Bool, cause: String, _ useful: Usefulness) {
        if !isIdle, isWaste { losses.wasted[cause, default: 0] += 1.0 / 60 }
        while nextWork < useful.works.count, useful.works[nextWork].from <= now {
            let work = useful.works[nextWork]
            if isIdle, self.isIdle, work.startsItself { losses.missed[work.cause, default: 0] += 1 }
            nextWork += 1
        }
        if isIdle, !self.isIdle {
            losses.endings += 1
            for index in useful.inMidst(now) where destroyed.insert(index).inserted {
                let work = useful.works[index]
                let cause = now - work.from < Self.noticing ? "just begun, not seen yet" : work.cause
                losses.destroyed[cause, default: 0] += 1
                losses.destroyedHours[cause, default: 0] += Double(now - work.from) / Double(Millis.hour)
                if losses.examples[cause] == nil {
                    losses.examples[cause] =
                        "--machine \(machine.seed) --days \(machine.days), \(now.clockText)"
                }
            }
        }
        self.isIdle = isIdle
    }
}
