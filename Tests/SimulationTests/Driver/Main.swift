import IdleSimulation

/// Runs seeded machines against the idle policy: `idle-simulation --help`.
@main
enum Main {
    static func main() async { await CommandLineRun(CommandLine.arguments.dropFirst()).perform() }
}
