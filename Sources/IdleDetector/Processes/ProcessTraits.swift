/// What the name, the arguments and the environment of a process tell of it: pure. All of it is the process's own
/// choice.
struct ProcessTraits: Equatable {
    /// Arguments that are looked at.
    private static let argumentLimit = 32

    /// What Claude Code writes into the environment of what it runs.
    struct ClaudeMarker: Equatable {
        /// The pid of that Claude in its own pid namespace; nil: older versions do not say.
        var pid: Int32?
    }

    var isShell = false
    /// A shell that reads commands from a person.
    var isInteractive = false
    /// Part of the machine's furniture: `ProcessCatalogue.ignoredNames` and the like.
    var isIgnored = false
    /// The server's side of a file transfer over SSH, which is told of as such.
    var isTransfer = false
    /// The agent that it is, by its place in the catalogue.
    var agent: Int?
    var marker: ClaudeMarker?

    /// Variables of the environment that `init` wants, in this order.
    static let variables: [StaticString] = ["CLAUDECODE", "CLAUDE_PID"]

    init(name: String, command: [String], variables: [String?], catalogue: ProcessCatalogue) {
        let command = command.prefix(Self.argumentLimit)
        isShell = catalogue.shells.contains(name)
        isInteractive = isShell && Self.isInteractive(command)
        isTransfer = Self.isTransfer(name, command)
        agent = catalogue.agents.firstIndex { Self.isAgent($0, name, command, catalogue) }
        isIgnored =
            catalogue.ignoredNames.contains(name)
            || !isShell
                && Self.programs(name, command, catalogue).contains { program in
                    catalogue.ignoredPaths.contains { program.contains($0) }
                        || catalogue.ignoredExecutables.contains(Self.lastPart(program))
                }
        if variables.first == "1" {
            marker = ClaudeMarker(
                pid: variables.last.flatMap { $0 }.flatMap { Int32($0) }.flatMap { $0 > 0 ? $0 : nil })
        }
    }

    /// The executable as it was called, and the script that an interpreter runs.
    private static func programs(
        _ name: String, _ command: ArraySlice<String>, _ catalogue: ProcessCatalogue
    ) -> [String] {
        guard let executable = command.first else { return [] }
        guard isInterpreter(name, executable, catalogue),
            let script = command.dropFirst().first(where: { !$0.hasPrefix("-") })
        else { return [executable] }
        return [executable, script]
    }

    private static func isInterpreter(_ name: String, _ executable: String, _ catalogue: ProcessCatalogue)
        -> Bool
    {
        [name, lastPart(executable)].contains {
            catalogue.interpreters.contains($0) || $0.hasPrefix("python")
        }
    }

    private static func isAgent(
        _ agent: AgentDescription, _ name: String, _ command: ArraySlice<String>,
        _ catalogue: ProcessCatalogue
    ) -> Bool {
        if agent.commands.contains(name) { return true }
        guard let executable = command.first, isInterpreter(name, executable, catalogue) else { return false }
        let rest = command.dropFirst()
        if let module = rest.firstIndex(of: "-m"), module + 1 < rest.endIndex {
            return agent.commands.contains(rest[module + 1])
        }
        guard let script = rest.first(where: { !$0.hasPrefix("-") }) else { return false }
        return agent.commands.contains { script.hasSuffix("/bin/\($0)") }
    }

    /// Whether a shell has neither a script nor commands among its arguments.
    private static func isInteractive(_ command: ArraySlice<String>) -> Bool {
        var arguments = command.dropFirst()
        while let argument = arguments.popFirst() {
            switch argument {
            case "--init-file", "--rcfile", "-o", "+o", "-O", "+O": _ = arguments.popFirst()
            case "-C", "--init-command": _ = arguments.popFirst()
            case "-s", "--": continue
            case let option where option.hasPrefix("--") || option.hasPrefix("+"): continue
            case let option where option.hasPrefix("-"):
                if option.contains("c") { return false }
            default: return false
            }
        }
        return true
    }

    private static func isTransfer(_ name: String, _ command: ArraySlice<String>) -> Bool {
        switch name {
        case "sftp-server", "internal-sftp": true
        case "rsync": command.contains("--server")
        case "scp": command.dropFirst().contains { $0 == "-t" || $0 == "-f" }
        default: false
        }
    }

    private static func lastPart(_ path: String) -> String {
        path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[path.utf8.index(after: $0)...]) } ?? path
    }
}
