import ArgumentParser
import SamdCore

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check a configuration file, or print the reference.",
        subcommands: [Check.self, Reference.self, Template.self])

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check", abstract: "Check a configuration file; exits with 78 when it is wrong.")

        @Argument(help: "The file (default: /etc/samd/samd.toml).")
        var file: String?

        func run() throws {
            do {
                _ = try Configuration.load(path: file ?? Configuration.defaultPath, mayBeMissing: file == nil)
                print("\(file ?? Configuration.defaultPath) is fine")
            } catch {
                throw Exit.report(error)
            }
        }
    }

    struct Reference: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "reference", abstract: "Print the reference of every setting, as Markdown.")

        func run() { print(ConfigurationReference.markdown, terminator: "") }
    }

    struct Template: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "template", abstract: "Print a configuration file with every setting at its default."
        )

        func run() { print(ConfigurationReference.template, terminator: "") }
    }
}
