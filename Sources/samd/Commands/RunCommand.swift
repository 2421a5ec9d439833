import ArgumentParser
import Glibc
import SamdCore

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the daemon in the foreground; systemd does this.")

    @Option(help: "The configuration file (default: /etc/samd/samd.toml).")
    var config: String?

    func run() async throws {
        do {
            let signals = DaemonSignal.stream()
            let setup = try DaemonSetup(
                configurationPath: config, environment: { getenv($0).map { String(cString: $0) } })
            try await Daemon(setup, signals: signals).run()
        } catch {
            throw Exit.report(error)
        }
    }
}
