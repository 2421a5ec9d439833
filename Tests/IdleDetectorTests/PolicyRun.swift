import IdleDetector

/// A policy under test with a clock of its own: signals stand until they are changed, time goes on when it is told to.
struct PolicyRun {
    var policy: IdlePolicy
    private(set) var now: Moment
    var signals: [Signal] = []
    var probes = [ProbeReport(name: "all", lastLook: .boot)]
    let settings: IdleSettings

    init(_ change: (inout IdleSettings) -> Void = { _ in }) {
        var settings = IdleSettings()
        change(&settings)
        self.settings = settings
        now = Moment(milliseconds: 1_000_000)
        policy = IdlePolicy(settings: settings, startedAt: now)
    }

    var snapshot: ActivitySnapshot { ActivitySnapshot(at: now, signals: signals, probes: probes) }

    @discardableResult mutating func verdict() -> IdleVerdict { policy.evaluate(snapshot, at: now) }

    /// Lets time pass, evaluating every `step` as a daemon does.
    @discardableResult mutating func pass(
        _ duration: Duration, step: Duration = .seconds(15), each: (inout PolicyRun) -> Void = { _ in }
    ) -> IdleVerdict {
        let end = now + duration
        while now < end {
            now = min(now + step, end)
            each(&self)
            verdict()
        }
        return verdict()
    }

    /// Another samd goes on with what the one before remembered.
    mutating func restart(_ memory: IdlePolicy.Memory) {
        policy = IdlePolicy(settings: settings, memory: memory, startedAt: now)
        policy.resume(at: now)
    }

    /// When the machine becomes idle if nothing changes, found by trying.
    mutating func idleAfter(limit: Duration, step: Duration = .seconds(15)) -> Duration? {
        let start = now
        while now - start <= limit {
            if verdict().state == .idle { return now - start }
            now = now + step
        }
        return nil
    }

    mutating func set(
        _ kind: Signal.Kind, id: String? = nil, changedAt: Moment? = nil, until: Moment? = nil,
        belongsTo: String? = nil, detail: String? = nil
    ) {
        let id = id ?? kind.rawValue
        let before = signals.first { $0.id == id }
        signals.removeAll { $0.id == id }
        signals.append(
            Signal(
                id: id, kind: kind, subject: id, detail: detail,
                since: before?.kind == kind ? before?.since ?? now : now,
                changedAt: changedAt ?? before?.changedAt,
                until: until, belongsTo: belongsTo))
    }

    mutating func touch(_ kind: Signal.Kind, id: String? = nil) { set(kind, id: id, changedAt: now) }

    mutating func remove(_ id: String) { signals.removeAll { $0.id == id } }
}

extension Duration {
    static func minutes(_ count: Int) -> Duration { .seconds(count * 60) }
    static func hours(_ count: Int) -> Duration { .seconds(count * 3600) }
}
