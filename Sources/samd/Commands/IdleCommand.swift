import ArgumentParser
import SamdCore

struct IdleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "idle", abstract: "Say whether the machine is used, and by what.",
        subcommands: [ShowIdle.self, RecordIdle.self, ReplayIdle.self], defaultSubcommand: ShowIdle.self)
}

struct ShowIdle: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Say whether the machine is used, by what, and what does not count.")

    @OptionGroup var options: ClientOptions

    func run() async throws {
        try await options.reportingErrors {
            let (report, json) = try await options.client.get("/v1/idle", as: IdleReport.self)
            if options.json { return print(json) }
            print(IdleText.text(report))
        }
    }
}

struct RecordIdle: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "record", abstract: "Write down what led to the verdicts, for a report or a replay.",
        discussion: """
            What the daemon keeps of the past (up to 4 MiB) is written first. The file names users, folders and \
            programs: look through it before you send it to anybody. For root, workspace owners and the group samd.
            """)

    @Argument(help: "The file to write (mode 0600); - for standard output.")
    var file: String

    @Option(name: .customLong("for"), help: "Go on for so long with what happens, for example 10m.")
    var length: String?

    @OptionGroup var options: ClientOptions

    func validate() throws {
        guard let length else { return }
        guard DurationText.parse(length) != nil else {
            throw ValidationError(
                "--for \(length) is no duration: write a number and a unit, for example 10m or 2h.")
        }
    }

    func run() async throws {
        try await options.reportingErrors {
            let sink = try RecordingSink(file)
            let client = options.client
            guard let duration = length.flatMap({ DurationText.parse($0) }) else {
                try await client.recording(follow: false) { try sink.write($0) }
                return
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await client.recording(follow: true) { try sink.write($0) } }
                group.addTask { try await Task.sleep(for: duration, clock: .suspending) }
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }
}

struct ReplayIdle: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Say what the verdicts of a recording were, or would be with other settings.",
        discussion: "Needs no daemon: the same policy runs over the recorded evidence.")

    @Argument(help: "A file of `samd idle record`; - for standard input.")
    var file: String

    @Option(help: "The same as --set idle.threshold=….")
    var threshold: String?

    @Option(
        name: .customLong("set"),
        help: "Another value for a setting, for example idle.busy_cap=1h; may be repeated.")
    var settings: [String] = []

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        for setting in settings where !setting.contains("=") {
            throw ValidationError(
                "--set \(setting): write a setting, '=' and its value, for example idle.busy_cap=1h.")
        }
    }

    func run() throws {
        do {
            let path = file == "-" ? "/dev/stdin" : file
            let bytes = try BoundedFile.read(path, limit: IdleRecording.maximumBytes)
            var replay = IdleReplay(changing: changes)
            guard let outcome = try replay.run(try IdleRecording.parse(bytes, file: file)) else { return }
            if json { return print(try outcome.json()) }
            print(IdleText.timeline(outcome.timeline) + "\n\n" + IdleText.text(outcome.report))
        } catch {
            throw Exit.report(error)
        }
    }

    private var changes: [(name: String, value: String)] {
        (threshold.map { [("threshold", $0)] } ?? [])
            + settings.map { text in
                let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
            }
    }
}

/// How idle detection is shown on a terminal.
private enum IdleText {
    static func text(_ report: IdleReport) -> String {
        var text = Terminal.harmless(report.explanation)
        let notes = IdleTable.notes(report).map(Terminal.harmless)
        if !notes.isEmpty { text += "\n\n" + notes.joined(separator: "\n") }
        guard !report.signals.isEmpty else { return text }
        var table = Table(header: IdleTable.header)
        for row in IdleTable.rows(report) { table.append(row) }
        return text + "\n\n" + table.text
    }

    static func timeline(_ steps: [IdleReplay.Step]) -> String {
        var table = Table(header: ["TIME", "STATE", "WHY"])
        for step in steps { table.append([step.time, step.state, step.explanation]) }
        return table.text
    }
}
