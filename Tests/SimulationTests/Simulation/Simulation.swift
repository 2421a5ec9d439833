package import IdleDetector

/// Many machines, each of a seed of its own; the same seeds give the same figures whatever the number of tasks.
package struct Simulation: Sendable {
    package typealias MakeJudge = @Sendable (IdleSettings, Moment) -> any Judge

    /// Machines live so long.
    private static let lengths = [1, 2, 3, 5, 7, 10]

    package var makeJudge: MakeJudge

    package init(makeJudge: @escaping MakeJudge = { PolicyJudge(settings: $0, startedAt: $1) }) {
        self.makeJudge = makeJudge
    }

    /// The machines of a seed, `days` long in all.
    package static func machines(seed: UInt64, days: Int) -> [(seed: UInt64, days: Int)] {
        var random = SplitMix64(seed: seed)
        var machines: [(seed: UInt64, days: Int)] = []
        var left = days
        while left > 0 {
            let length = min(left, random.pick(lengths))
            // Short enough to be typed.
            machines.append((random.next() >> 32, length))
            left -= length
        }
        return machines
    }

    package func run(seed: UInt64, days: Int, trace: ((String) -> Void)? = nil) throws -> Tally {
        var machine = MachineRun(.machine(seed: seed, days: days), makeJudge: makeJudge, trace: trace)
        return try machine.run()
    }

    package func run(_ machines: [(seed: UInt64, days: Int)], tasks: Int = 1) async throws -> Tally {
        try await withThrowingTaskGroup(of: (Int, Tally).self) { group in
            for task in 0..<max(1, tasks) {
                group.addTask {
                    var tally = Tally()
                    for index in stride(from: task, to: machines.count, by: max(1, tasks)) {
                        tally.add(try run(seed: machines[index].seed, days: machines[index].days))
                    }
                    return (task, tally)
                }
            }
            var parts: [Int: Tally] = [:]
            for try await (task, tally) in group { parts[task] = tally }
            var sum = Tally()
            for task in parts.keys.sorted() { sum.add(parts[task] ?? Tally()) }
            return sum
        }
    }
}
