import IdleDetector

/// What a decider cost.
package struct Losses: Sendable, Equatable {
    /// Hours in which the machine was kept though nobody had used it for longer than the threshold, by cause.
    package var wasted: [String: Double] = [:]
    /// Work that was cut off, by cause: how often, and how many hours had gone into it.
    package var destroyed: [String: Int] = [:]
    package var destroyedHours: [String: Double] = [:]
    /// The first of each cause: which machine, and when.
    package var examples: [String: String] = [:]
    /// Work that would have begun by itself when the machine was gone, by cause.
    package var missed: [String: Int] = [:]
    /// How often the machine was deleted.
    package var endings = 0

    package var wastedHours: Double { wasted.values.reduce(0, +) }
    package var destroyedCount: Int { destroyed.values.reduce(0, +) }
    package var lostHours: Double { destroyedHours.values.reduce(0, +) }

    mutating func add(_ other: Losses) {
        wasted.merge(other.wasted, uniquingKeysWith: +)
        destroyed.merge(other.destroyed, uniquingKeysWith: +)
        destroyedHours.merge(other.destroyedHours, uniquingKeysWith: +)
        examples.merge(other.examples) { first, _ in first }
        missed.merge(other.missed, uniquingKeysWith: +)
        endings += other.endings
    }
}

/// An invariant that did not hold.
package struct Violation: Sendable, Equatable {
    package enum Rule: String, Sendable, CaseIterable {
        case cutsOff = "idle while something works, holds within its cap, or was just used"
        case blindIdle = "idle while a probe cannot look"
        case late = "not idle although nothing real is left"
        case deadline = "the deadline does not tell when the machine becomes idle"
        case reasons = "a verdict without its reasons"
    }

    package var rule: Rule
    package var seed: UInt64
    package var days: Int
    package var at: Millis
    package var text: String
    /// The verdict and the signals that led to it.
    package var evidence: [String]
}

/// What a simulation found.
package struct Tally: Sendable, Equatable {
    package var machines = 0
    package var days = 0
    package var evaluations = 0
    package var violations: [Violation] = []
    package var violationCount = 0
    /// Hours in which a human or work was there.
    package var usefulHours = 0.0
    /// Hours in which a probe could not look; and those in which nothing but that kept the machine.
    package var blindHours = 0.0
    package var heldBlindHours = 0.0
    /// Times a human was cut off who went on without a pause for so long that only a program would, or whose port a
    /// program used just so.
    package var humansCutOff = 0
    /// Alarms raised, by kind.
    package var alarms: [String: Int] = [:]
    package var ours = Losses()
    package var naive = Losses()
    package var naiveFiles = Losses()

    /// Violations that are kept for the report.
    static let violationLimit = 20

    package init() {}

    package mutating func add(_ other: Tally) {
        machines += other.machines
        days += other.days
        evaluations += other.evaluations
        violationCount += other.violationCount
        violations += other.violations.prefix(max(0, Self.violationLimit - violations.count))
        usefulHours += other.usefulHours
        blindHours += other.blindHours
        heldBlindHours += other.heldBlindHours
        humansCutOff += other.humansCutOff
        alarms.merge(other.alarms, uniquingKeysWith: +)
        ours.add(other.ours)
        naive.add(other.naive)
        naiveFiles.add(other.naiveFiles)
    }
}
