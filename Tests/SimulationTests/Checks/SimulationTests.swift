import IdleDetector
import IdleSimulation
import Testing

@Suite("Simulation of machines")
struct SimulationTests {
    @Test("the policy keeps every invariant on three weeks of machines")
    func policyHolds() async throws {
        let tally = try await Simulation().run(Simulation.machines(seed: 1, days: 21))
        #expect(tally.violations.isEmpty, "\(Report(tally).text)")
        #expect(tally.days == 21)
        #expect(tally.evaluations > 21 * 100)
        #expect(tally.ours.endings > 10)
    }

    @Test("the same seed gives the same run, whatever the number of tasks")
    func reproducible() async throws {
        let machines = Simulation.machines(seed: 2, days: 6)
        let one = try await Simulation().run(machines)
        let three = try await Simulation().run(machines, tasks: 3)
        #expect(Report(one).json == Report(three).json)
        let other = try await Simulation().run(Simulation.machines(seed: 3, days: 6))
        #expect(Report(one).json != Report(other).json)
    }

    @Test("a machine that is run alone behaves as among the others, and tells what it does")
    func replay() throws {
        let (seed, days) = try #require(Simulation.machines(seed: 4, days: 3).first)
        var lines: [String] = []
        let traced = try Simulation().run(seed: seed, days: days) { lines.append($0) }
        #expect(try traced == Simulation().run(seed: seed, days: days))
        #expect(lines.contains { $0.contains("ACTIVE") })
        #expect(lines.contains { $0.contains("·") })
    }

    @Test("the generator gives the published numbers of SplitMix64")
    func generator() {
        var random = SplitMix64(seed: 0)
        #expect(random.next() == 0xE220_A839_7B1D_CDAF)
        #expect(random.next() == 0x6E78_9E6A_A1B9_65F4)
    }

    @Test("machines of a seed are as many days as were asked for", arguments: [1, 10, 500])
    func lengths(days: Int) {
        #expect(Simulation.machines(seed: 9, days: days).reduce(0) { $0 + $1.days } == days)
    }

    // MARK: The checks can fail

    @Test(
        "a policy that is broken on purpose is caught, by the invariant that it breaks",
        arguments: Mutation.allCases)
    func caught(mutation: Mutation) throws {
        let simulation = Simulation { MutantJudge(mutation, settings: $0, startedAt: $1) }
        var found: Set<Violation.Rule> = []
        for (seed, days) in Simulation.machines(seed: 5, days: 300) {
            let tally = try simulation.run(seed: seed, days: min(days, 3))
            found.formUnion(tally.violations.map(\.rule))
            if found.contains(mutation.breaks) { break }
        }
        #expect(found.contains(mutation.breaks))
    }
}
