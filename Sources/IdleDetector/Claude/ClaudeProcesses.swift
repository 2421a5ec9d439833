package import ProcFS

/// Finds the Claude Code processes among all.
package struct ClaudeProcesses {
    /// Claude processes that are looked at; more are left out, the youngest first.
    package static let processLimit = 256
    /// Command lines that are remembered.
    private static let cacheLimit = 4096
    /// Arguments in which the package's script is looked for.
    private static let argumentLimit = 8
    /// Names under which node and bun run scripts; newer ones name the main thread themselves.
    private static let interpreters: Set<String> = ["node", "nodejs", "bun", "MainThread", "node-MainThread"]

    private let procfs: ProcFileSystem
    /// Whether an interpreter's process runs Claude, by pid, for a start time.
    private var known: [Int32: (startTime: UInt64, isClaude: Bool)] = [:]

    package init(procfs: ProcFileSystem) { self.procfs = procfs }

    /// Whether a process of this name may be Claude: cheap, and never wrongly false.
    package static func couldBeClaude(name: String) -> Bool {
        name == "claude" || interpreters.contains(name)
    }

    /// The id of a Claude's signal.
    package static func id(pid: Int32, startTime: UInt64) -> String { "claude:\(pid):\(startTime)" }

    /// The Claude processes of a table, at most `processLimit`: pid → id.
    ///
    /// `claude` is what the native build is called, and what the npm package calls its process; else the script in
    /// the command line of node or bun tells.
    package mutating func find(in table: ProcessTable) -> [Int32: String] {
        var found: [ProcessEntry] = []
        for entry in table.entries.values where Self.couldBeClaude(name: entry.name) && !entry.isZombie {
            if entry.name == "claude" || runsClaude(entry) { found.append(entry) }
        }
        if known.count > 64, known.count >= min(2 * table.entries.count, Self.cacheLimit) {
            known = known.filter { table.entries[$0.key] != nil }
        }
        if found.count > Self.processLimit {
            found.sort { ($0.startTime, $0.pid) < ($1.startTime, $1.pid) }
            found.removeLast(found.count - Self.processLimit)
        }
        return Dictionary(
            uniqueKeysWithValues: found.map { ($0.pid, Self.id(pid: $0.pid, startTime: $0.startTime)) })
    }

    private mutating func runsClaude(_ entry: ProcessEntry) -> Bool {
        if let answer = known[entry.pid], answer.startTime == entry.startTime { return answer.isClaude }
        // What could not be read is asked for again.
        guard let command = try? procfs.commandLine(of: entry.pid), !command.isEmpty else { return false }
        let isClaude = Self.isClaude(command: command)
        if known.count < Self.cacheLimit { known[entry.pid] = (entry.startTime, isClaude) }
        return isClaude
    }

    /// Whether an interpreter's command line runs the npm package: its script, or the link to it that npm makes.
    static func isClaude(command: [String]) -> Bool {
        let arguments = command.dropFirst().prefix(argumentLimit)
        if arguments.contains(where: { $0.hasSuffix("/@anthropic-ai/claude-code/cli.js") }) { return true }
        guard let script = arguments.first(where: { !$0.hasPrefix("-") }) else { return false }
        return script == "claude" || script.hasSuffix("/bin/claude")
    }
}
