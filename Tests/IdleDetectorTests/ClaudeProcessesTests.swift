import ProcFS
import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("Claude processes")
struct ClaudeProcessesTests {
    private func table(_ names: [(Int32, String)]) -> ProcessTable {
        ProcessTable(
            at: .boot,
            entries: Dictionary(
                uniqueKeysWithValues: names.map {
                    ($0.0, ClaudeMachine.entry(pid: $0.0, name: $0.1, startTime: UInt64($0.0) * 10))
                }))
    }

    @Test("the native build is known by its name, the npm package by its script")
    func found() throws {
        let tree = try TemporaryTree()
        try tree.write(
            "node\0/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js\0-p\0hello\0", to: "2/cmdline")
        try tree.write("node\0--no-warnings\0/usr/local/bin/claude\0", to: "3/cmdline")
        try tree.write("node\0/srv/app/server.js\0claude\0", to: "4/cmdline")
        try tree.write("bun\0/x/@anthropic-ai/claude-code/cli.js\0", to: "5/cmdline")
        try tree.write("vim\0/x/@anthropic-ai/claude-code/cli.js\0", to: "6/cmdline")
        var processes = ClaudeProcesses(procfs: ProcFileSystem(root: tree.root))
        let found = processes.find(
            in: table([
                (1, "claude"), (2, "node"), (3, "node-MainThread"), (4, "node"), (5, "bun"), (6, "vim"),
                (7, "bash"),
                (8, "claude-desktop"), (9, "node"),
            ]))
        #expect(found == [1: "claude:1:10", 2: "claude:2:20", 3: "claude:3:30", 5: "claude:5:50"])
    }

    @Test("a command line is read once for a process, and again for another of the same number")
    func cached() throws {
        let tree = try TemporaryTree()
        var processes = ClaudeProcesses(procfs: ProcFileSystem(root: tree.root))
        let table = table([(2, "node")])
        #expect(processes.find(in: table).isEmpty)
        try tree.write("node\0/usr/local/bin/claude\0", to: "2/cmdline")
        #expect(processes.find(in: table).count == 1)
        try tree.write("node\0/srv/app/server.js\0", to: "2/cmdline")
        #expect(processes.find(in: table).count == 1)
        var other = table
        other.entries[2]?.startTime = 21
        #expect(processes.find(in: other).isEmpty)
    }

    @Test("the ended ones are left out, and beyond the bound the youngest")
    func bounded() {
        var processes = ClaudeProcesses(procfs: ProcFileSystem(root: "/nonexistent"))
        var table = table((1...300).map { (Int32($0), "claude") })
        table.entries[7]?.isZombie = true
        let found = processes.find(in: table)
        #expect(found.count == ClaudeProcesses.processLimit)
        #expect(found[7] == nil)
        #expect(found.keys.max() == 257)
    }
}
