import ArgumentParser
import SamdCore

struct NotifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "notify", abstract: "Notifications: try out where they go.", subcommands: [Test.self])

    struct Test: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "test", abstract: "Send a test notification by every way of [notify].",
            discussion: """
                For root, workspace owners and members of the group samd. Exits with 1 when a way failed or none is configured.
                """)

        @OptionGroup var options: ClientOptions

        func run() async throws {
            try await options.reportingErrors {
                let (report, json) = try await options.client.send(
                    "POST", "/v1/notify/test", as: NotifyTestReport.self)
                if options.json {
                    print(json)
                } else {
                    var table = Table(header: ["WAY", "TARGET", "RESULT"])
                    for result in report.results {
                        let text = result.delivered ? "delivered" : "failed: \(result.detail)"
                        table.append([result.way, result.target, text])
                    }
                    print(table.text)
                }
                if report.results.contains(where: { !$0.delivered }) { throw Exit.failure }
            }
        }
    }
}
