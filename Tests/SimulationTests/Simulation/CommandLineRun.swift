import Glibc

/// What `idle-simulation` does.
package struct CommandLineRun {
    private static let help = """
        usage: idle-simulation [--days N] [--seed N] [--jobs N] [--json]
               idle-simulation --machine SEED [--days N] [--trace]

          --days N      machine-days in all (500); with --machine: how long that one lives
          --seed N      which machines (1)
          --machine S   only the machine of this seed, as a violation names it
          --trace       what happens on it, and every change of the verdict
          --jobs N      threads (1); the figures do not depend on it
          --json        the figures as JSON
        Exit status: 0; 1: an invariant did not hold; 2: usage.
        """

    private var days = 500
    private var seed: UInt64 = 1
    private var jobs = 1
    private var machine: UInt64?
    private var isTrace = false
    private var isJSON = false
    private var problem: String?

    package init(_ arguments: some Sequence<String>) {
        var rest = Array(arguments)[...]
        func number(_ name: String) -> UInt64? {
            defer { rest = rest.dropFirst() }
            return rest.first.flatMap { UInt64($0) }
        }
        while let name = rest.popFirst() {
            switch name {
            case "--json": isJSON = true
            case "--trace": isTrace = true
            case "--days", "--seed", "--jobs", "--machine":
                guard let value = number(name), value <= Self.limits[name] ?? .max else {
                    problem = "\(name) needs a number, at most \(Self.limits[name] ?? .max)"
                    return
                }
                switch name {
                case "--days": days = Int(value)
                case "--seed": seed = value
                case "--jobs": jobs = Int(value)
                default: machine = value
                }
            default:
                problem = name == "--help" ? Self.help : "unknown option '\(name)'; see --help"
                return
            }
        }
        if machine != nil, days > 366 { days = 10 }
    }

    private static let limits: [String: UInt64] = ["--days": 1_000_000, "--jobs": 256]

    /// Does it, and ends the process.
    package func perform() async -> Never {
        if let problem {
            print(problem)
            exit(problem == Self.help ? 0 : 2)
        }
        do {
            let simulation = Simulation()
            let tally: Tally
            if let machine {
                tally = try simulation.run(seed: machine, days: days, trace: isTrace ? { print($0) } : nil)
            } else {
                tally = try await simulation.run(Simulation.machines(seed: seed, days: days), tasks: jobs)
            }
            print(isJSON ? Report(tally).json : Report(tally).text)
            exit(tally.violationCount == 0 ? 0 : 1)
        } catch {
            print("idle-simulation: \(error)")
            exit(1)
        }
    }
}
