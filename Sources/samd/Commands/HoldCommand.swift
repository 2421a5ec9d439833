import ArgumentParser
import SamdCore

struct HoldCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold", abstract: "Keep this machine for a time, or while a command runs.",
        discussion: """
            samd hold 2h --reason "migration"
            samd hold --reason "release" -- make release

            With a command, the hold ends with it (or with the time, if one is given too), also when this process is killed. \
            Exits with the command's status. If samd cannot be asked, the command runs all the same, with a warning.
            """)

    @Argument(help: "For how long: 90s, 30m, 2h, 1d.")
    var duration: String?

    @Option(help: "Why, for those who wonder. With a command: its name, if nothing is given.")
    var reason: String?

    @OptionGroup var options: ClientOptions

    @Argument(parsing: .postTerminator, help: "What to run, after --.")
    var command: [String] = []

    /// So long the command waits for samd.
    private static let patience: Duration = .seconds(5)

    private var parsedDuration: Duration? { duration.flatMap(DurationText.parse) }

    func validate() throws {
        if duration == nil, command.isEmpty {
            throw ValidationError(
                "For how long? Give a time (samd hold 2h) or a command (samd hold -- make release).")
        }
        if let duration, parsedDuration.map({ $0 < .seconds(1) }) ?? true {
            throw ValidationError(
                "\"\(duration)\" is no time of a second or more; write 90s, 30m, 2h or 1d"
                    + (command.isEmpty ? ", and -- before a command." : "."))
        }
        if options.json, !command.isEmpty {
            throw ValidationError("--json is for holds without a command, whose output is its own.")
        }
    }

    func run() async throws {
        if !command.isEmpty { return try await runCommand() }
        try await options.reportingErrors {
            let (hold, json) = try await take(options.client)
            if options.json { return print(json) }
            print(
                "hold \(hold.id) keeps this machine until \(hold.until); to end it sooner: samd release \(hold.id)"
            )
        }
    }

    private func take(_ client: LocalAPIClient) async throws -> (value: HoldReport, json: String) {
        let name = command.first.map { $0.split(separator: "/").last.map(String.init) ?? $0 }
        let request = HoldRequest(
            reason: reason ?? name ?? "", duration: parsedDuration, whileProcess: !command.isEmpty)
        return try await client.send("POST", "/v1/holds", request, as: HoldReport.self)
    }

    /// Work comes first: whatever is wrong with samd, the command runs.
    private func runCommand() async throws {
        let hold: HoldReport?
        do {
            hold = try await take(options.client(patience: Self.patience)).value
        } catch {
            Terminal.printError("samd: warning: nothing keeps this machine while the command runs: \(error)")
            hold = nil
        }
        let status = ForegroundCommand.run(command)
        if let hold {
            // If this fails, samd sees by itself that the process is gone.
            _ = try? await options.client(patience: Self.patience)
                .send("DELETE", "/v1/holds/\(hold.id)", as: HoldReport.self)
        }
        throw ExitCode(status)
    }
}

struct HoldsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "holds", abstract: "List who keeps this machine, and why.")

    @OptionGroup var options: ClientOptions

    func run() async throws {
        try await options.reportingErrors {
            let (list, json) = try await options.client.get("/v1/holds", as: HoldList.self)
            if options.json { return print(json) }
            if list.holds.isEmpty {
                return print("Nobody keeps this machine. To keep it: samd hold 2h --reason \"migration\"")
            }
            var table = Table(header: ["ID", "UNTIL", "LEFT", "WHO", "REASON"])
            for hold in list.holds {
                let until = hold.process.map { "process \($0.pid) ends" } ?? hold.until
                table.append([hold.id, until, Self.left(hold.leftSeconds), hold.by.name, hold.reason])
            }
            print(table.text)
        }
    }

    /// The two largest units: `1d 3h`, `59m 5s`.
    static func left(_ seconds: Int64) -> String {
        let parts = [
            (seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"),
            (seconds % 60, "s"),
        ]
        guard let first = parts.firstIndex(where: { $0.0 > 0 }) else { return "0s" }
        return parts[first...].prefix(2).filter { $0.0 > 0 }.map { "\($0.0)\($0.1)" }.joined(separator: " ")
    }
}

struct ReleaseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "End a hold.",
        discussion: "For who took it, and for root, workspace owners and members of the group samd.")

    @Argument(help: "The hold's name, as samd holds shows it.")
    var id: String

    @OptionGroup var options: ClientOptions

    func run() async throws {
        try await options.reportingErrors {
            let (hold, json) = try await options.client.send(
                "DELETE", "/v1/holds/\(URLPath.segment(id))", as: HoldReport.self)
            print(options.json ? json : Terminal.harmless("hold \(hold.id) of \(hold.by.name) is over"))
        }
    }
}
