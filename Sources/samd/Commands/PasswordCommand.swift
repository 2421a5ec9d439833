import ArgumentParser
import SamdCore

struct PasswordCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "password", abstract: "Show the user name and password for published URLs.",
        discussion: "For root, workspace owners and members of the group samd.")

    @OptionGroup var options: ClientOptions

    func run() async throws {
        try await options.reportingErrors {
            let (report, json) = try await options.client.get("/v1/password", as: PasswordReport.self)
            print(options.json ? json : "\(report.user):\(report.password)")
        }
    }
}
