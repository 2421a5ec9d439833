import ArgumentParser
import FoundationEssentials
import SamdCore

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Check everything that samd needs on this machine; changes nothing.",
        discussion: "Exits with 1 when something does not work.")

    @OptionGroup var options: ClientOptions

    @Option(help: "The configuration file (default: /etc/samd/samd.toml).")
    var config: String?

    func run() async throws {
        let findings = await Doctor(configurationPath: config, socket: options.socketPath).examine()
        if options.json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            print(String(decoding: try encoder.encode(findings), as: UTF8.self))
        } else {
            for finding in findings {
                let mark = finding.level == .ok ? "ok   " : finding.level == .warning ? "warn " : "ERROR"
                print("\(mark)  \(finding.check): \(finding.detail)")
                if let hint = finding.hint { print("       → \(hint)") }
            }
        }
        if findings.contains(where: { $0.level == .error }) { throw Exit.failure }
    }
}
