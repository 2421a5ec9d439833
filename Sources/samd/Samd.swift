import ArgumentParser
import SamdCore

/// `samd`: the daemon (`samd run`) and its command line.
@main
struct Samd: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "samd",
        abstract: "Publishes what listens on this machine, and says what it does.",
        discussion: """
            The daemon is `samd run`, started by systemd. `samd config` works on files; every other command asks the \
            daemon on its local socket and takes --json.
            """,
        version: SamdVersion.current,
        subcommands: [
            RunCommand.self, StatusCommand.self, PortsCommand.self, IdleCommand.self, EventsCommand.self,
            HoldCommand.self, HoldsCommand.self, ReleaseCommand.self, PasswordCommand.self,
            NotifyCommand.self, DoctorCommand.self, ConfigCommand.self,
        ])
}
