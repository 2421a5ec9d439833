import Glibc
import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("Other agents")
struct AgentProbeTests {
    private struct Look {
        var processes: RecordedProcesses
        var probe: AgentProbe

        init() throws {
            processes = try RecordedProcesses()
            probe = AgentProbe(procfs: processes.procfs, roles: ProcessRoles(procfs: processes.procfs)) { _ in
                "dev"
            }
        }

        mutating func signals(at second: Int64) throws -> [IdleDetector.Signal] {
            try probe.look(processes.context(at: second)).signals
        }
    }

    @Test("an agent is its outermost process with all that it runs")
    func descendants() throws {
        var look = try Look()
        try look.processes.start(10, "node", command: ["node", "/usr/bin/codex"])
        try look.processes.start(11, "codex", parent: 10, session: 10)
        try look.processes.start(12, "cargo", parent: 11)
        _ = try look.signals(at: 0)
        look.processes.entries[12]?.cpuTicks += 500
        let signals = try look.signals(at: 15)
        #expect(signals.map(\.subject) == ["codex (pid 10) of dev"])
        #expect(signals.first?.kind == .agent && signals.first?.changedAt == Moment(milliseconds: 15_000))
        #expect(signals.first?.detail == "3 processes")
    }

    @Test("growth of its files is progress; what was there before is not")
    func files() throws {
        var look = try Look()
        try look.processes.start(10, "codex", environment: ["HOME=/home/dev"])
        let session = "10/root/home/dev/.codex/sessions/2026/a.jsonl"
        try look.processes.files.write("one", to: session)
        #expect(try look.signals(at: 0).first?.changedAt == nil)
        #expect(try look.signals(at: 30).first?.changedAt == nil)
        try look.processes.files.write("one, two", to: session)
        #expect(try look.signals(at: 45).first?.changedAt == nil, "folders are looked at every 30 s")
        #expect(try look.signals(at: 60).first?.changedAt == Moment(milliseconds: 60_000))
        #expect(try look.signals(at: 90).first?.changedAt == Moment(milliseconds: 60_000))
    }

    @Test("a folder that leads elsewhere, or up, is not looked at")
    func hostileFolders() throws {
        let files = try TemporaryTree()
        try files.write("secret", to: "outside/sessions/x")
        try files.link("root/home/dev/.codex", to: "\(files.root)/outside")
        try files.write("", to: "root/home/file")
        let root = "\(files.root)/root"
        #expect(FolderStamp(root: root, home: "/home/dev", folder: ".codex/sessions") == nil)
        #expect(FolderStamp(root: root, home: "/home/../../outside", folder: "sessions") == nil)
        #expect(FolderStamp(root: root, home: "home", folder: "dev") == nil)
        #expect(FolderStamp(root: root, home: "/home", folder: "file") == nil)
        #expect(FolderStamp(root: root, home: "/home", folder: "dev")?.entryCount == 1)
        try #require(mkfifo("\(root)/home/dev/pipe", 0o600) == 0)
        #expect(FolderStamp(root: root, home: "/home", folder: "dev")?.entryCount == 2)
    }

    @Test("no more of a folder is looked at than the bounds")
    func bounds() throws {
        let files = try TemporaryTree()
        for number in 0..<2100 { try files.write("", to: "a/many/\(number)") }
        try files.write("", to: "b/1/2/3/4/5/6")
        #expect(
            FolderStamp(root: files.root, home: "/a", folder: "many")?.entryCount == FolderStamp.entryLimit)
        #expect(FolderStamp(root: files.root, home: "/", folder: "b")?.entryCount == 5)
    }
}
