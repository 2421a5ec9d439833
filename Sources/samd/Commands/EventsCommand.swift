import ArgumentParser
import SamdCore

struct EventsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Show what happened, and follow what happens.")

    @OptionGroup var options: ClientOptions

    @Option(help: "Begin after the event with this id; 0 shows all that the daemon keeps.")
    var since: UInt64?

    func run() async throws {
        try await options.reportingErrors {
            try await options.client.events(after: since ?? 0) { event, json in
                Terminal.printLine(
                    options.json ? json : Terminal.harmless("\(event.time)  \(event.type)  \(event.message)"))
            }
        }
    }
}
