import IdleDetector
import IdleSimulation

/// Ways in which a policy could be wrong.
enum Mutation: CaseIterable {
    case ignoresTools, ignoresJobs, ignoresKeys, ignoresSessions, ignoresBlindness, ignoresHolds,
        ignoresWakeUps
    case waitsForNobody, isImpatient, isLate, hasNoCaps, trustsConnections, trustsPaneOutput, trustsPolls
    case announcesTooLate, announcesTooEarly, givesNoReason

    var breaks: Violation.Rule {
        switch self {
        case .ignoresTools, .ignoresJobs, .ignoresKeys, .ignoresSessions, .ignoresHolds, .ignoresWakeUps,
            .waitsForNobody, .isImpatient:
            .cutsOff
        case .ignoresBlindness: .blindIdle
        case .isLate, .hasNoCaps, .trustsConnections, .trustsPaneOutput, .trustsPolls: .late
        case .announcesTooLate, .announcesTooEarly: .deadline
        case .givesNoReason: .reasons
        }
    }
}

/// The policy with one thing broken.
struct MutantJudge: Judge {
    private let mutation: Mutation
    private var judge: PolicyJudge

    init(_ mutation: Mutation, settings: IdleSettings, startedAt: Moment) {
        self.mutation = mutation
        var settings = settings
        switch mutation {
        case .isImpatient: settings.threshold = .seconds(28 * 60)
        case .isLate: settings.threshold = .seconds(34 * 60)
        case .waitsForNobody: settings.waitingThreshold = settings.threshold
        case .hasNoCaps:
            settings.busyCap = .seconds(1000 * 86_400)
            settings.silentCap = settings.busyCap
        default: break
        }
        judge = PolicyJudge(settings: settings, startedAt: startedAt)
    }

    mutating func save() throws { try judge.save() }
    mutating func restart(at now: Moment) throws { try judge.restart(at: now) }

    mutating func evaluate(_ snapshot: ActivitySnapshot, at now: Moment) -> IdleVerdict {
        var seen = snapshot
        seen.signals = snapshot.signals.compactMap { perceive($0, now: now) }
        if mutation == .ignoresBlindness {
            seen.probes = snapshot.probes.map { ProbeReport(name: $0.name, lastLook: now) }
        }
        var verdict = judge.evaluate(seen, at: now)
        switch mutation {
        case .announcesTooLate: verdict.deadline = verdict.deadline.map { $0 + .seconds(120) }
        case .announcesTooEarly: verdict.deadline = verdict.deadline.map { $0 - .seconds(120) }
        case .givesNoReason:
            verdict.holding = []
            if verdict.state == .active { verdict.deadline = nil }
        default: break
        }
        return verdict
    }

    private func perceive(_ signal: Signal, now: Moment) -> Signal? {
        var signal = signal
        switch (mutation, signal.kind) {
        case (.ignoresTools, .tool), (.ignoresTools, .orphan), (.ignoresJobs, .job), (.ignoresJobs, .agent),
            (.ignoresKeys, .terminal), (.ignoresHolds, .hold), (.ignoresWakeUps, .wakeUp),
            (.ignoresSessions, .claudeBusy), (.ignoresSessions, .claudeShell):
            return nil
        case (.trustsConnections, .ssh):
            signal.kind = .terminal
            signal.changedAt = now
        case (.trustsPaneOutput, .terminalPane): signal.kind = .job
        case (.trustsPolls, .webBackground): signal.kind = .job
        default: break
        }
        return signal
    }
}
