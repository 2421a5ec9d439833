import FoundationEssentials
package import IdleDetector

/// What decides in a simulation: the policy, or a broken one that must be caught.
package protocol Judge {
    mutating func evaluate(_ snapshot: ActivitySnapshot, at now: Moment) -> IdleVerdict
    /// Writes down what is to be remembered.
    mutating func save() throws
    /// Another samd goes on at `now` with what was written down.
    mutating func restart(at now: Moment) throws
}

/// The policy itself.
package struct PolicyJudge: Judge {
    private var policy: IdlePolicy
    private var written: Data?

    package init(settings: IdleSettings, startedAt: Moment) {
        policy = IdlePolicy(settings: settings, startedAt: startedAt)
    }

    package mutating func evaluate(_ snapshot: ActivitySnapshot, at now: Moment) -> IdleVerdict {
        policy.evaluate(snapshot, at: now)
    }

    package mutating func save() throws { written = try JSONEncoder().encode(policy.memory) }

    package mutating func restart(at now: Moment) throws {
        let memory = try written.map { try JSONDecoder().decode(IdlePolicy.Memory.self, from: $0) }
        policy = IdlePolicy(settings: policy.settings, memory: memory, startedAt: now)
        if memory != nil { policy.resume(at: now) }
    }
}
