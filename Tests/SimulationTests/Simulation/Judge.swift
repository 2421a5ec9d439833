import FoundationEssentials
package import IdleDetector

/// What decides in a simulation: the policy, or a broken one that must be caught.
package protocol Judge {
    mutating func evaluate(_ snapshot: ActivitySnapshot, at now: Moment) -> IdleVerdict
    /// samd ends; another one goes on at `now` with what this one wrote down.
    mutating func restart(at now: Moment) throws
}

/// The policy itself.
package struct PolicyJudge: Judge {
    private var policy: IdlePolicy

    package init(settings: IdleSettings, startedAt: Moment) {
        policy = IdlePolicy(settings: settings, startedAt: startedAt)
    }

    package mutating func evaluate(_ snapshot: ActivitySnapshot, at now: Moment) -> IdleVerdict {
        policy.evaluate(snapshot, at: now)
    }

    package mutating func restart(at now: Moment) throws {
        let written = try JSONEncoder().encode(policy.memory)
        let memory = try JSONDecoder().decode(IdlePolicy.Memory.self, from: written)
        policy = IdlePolicy(settings: policy.settings, memory: memory, startedAt: now)
    }
}
