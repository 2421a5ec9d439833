import ArgumentParser
import SamdCore

struct PasswordCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "password", abstract: "Show or renew the user name and password for published URLs.",
        discussion: "For root, workspace owners and members of the group samd.")

    @Flag(help: "Make a new one. The old one stops working, and connections that came in with it end.")
    var new = false

    @OptionGroup var options: ClientOptions

    func run() async throws {
        try await options.reportingErrors {
            let (report, json) =
                new
                ? try await options.client.send("POST", "/v1/password", as: PasswordReport.self)
                : try await options.client.get("/v1/password", as: PasswordReport.self)
            print(options.json ? json : "\(report.user):\(report.password)")
        }
    }
}
