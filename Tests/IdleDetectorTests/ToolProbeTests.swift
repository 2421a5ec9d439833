import Glibc
import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("Claude's tools and orphans")
struct ToolProbeTests {
    private static let marked = ["CLAUDECODE=1", "CLAUDE_PID=100", "HOME=/home/dev"]

    private struct Look {
        var processes: RecordedProcesses
        var roles: ProcessRoles
        var tools: ToolProbe
        var jobs: JobProbe

        init() throws {
            processes = try RecordedProcesses()
            roles = ProcessRoles(procfs: processes.procfs)
            tools = ToolProbe(roles: roles) { $0 == 1000 ? "dev" : nil }
            jobs = JobProbe(roles: roles)
        }

        mutating func signals(at second: Int64) throws -> [IdleDetector.Signal] {
            try tools.look(processes.context(at: second)).signals.sorted { $0.id < $1.id }
        }
        mutating func jobs(at second: Int64) throws -> [IdleDetector.Signal] {
            try jobs.look(processes.context(at: second)).signals
        }
    }

    @Test("a tool is one signal of its session, named by what it runs, and belongs to its Claude")
    func tool() throws {
        var look = try Look()
        try look.processes.start(50, "bash", command: ["-bash"], terminal: 34816)
        try look.processes.startClaude(100, parent: 50, session: 50)
        try look.processes.start(
            200, "bash", parent: 100, command: ["bash", "-c", "make"], environment: Self.marked)
        try look.processes.start(201, "make", parent: 200, session: 200, environment: Self.marked)
        let signals = try look.signals(at: 10)
        #expect(signals.count == 1)
        let signal = try #require(signals.first)
        #expect(signal.kind == .tool && signal.belongsTo == RecordedProcesses.id(100) && signal.pid == 201)
        #expect(signal.subject == "make (pid 201) of dev" && signal.detail == "2 processes")
        #expect(signal.since == Moment(milliseconds: 10_000) && signal.changedAt == nil)
        #expect(
            try look.jobs(at: 10) == [], "neither Claude, nor its tools, nor the shell at its prompt is a job"
        )
    }

    @Test("what Claude runs beside itself in its own session is not reported, nor what that starts")
    func helpers() throws {
        var look = try Look()
        try look.processes.startClaude(100, session: 50)
        try look.processes.start(110, "node", parent: 100, session: 50, command: ["node", "mcp.js"])
        try look.processes.start(111, "chrome", parent: 110, session: 111)
        #expect(try look.signals(at: 10) == [])
        #expect(try look.jobs(at: 10) == [])
    }

    @Test("the tool of a killed Claude becomes an orphan, with its id and its time")
    func orphan() throws {
        var look = try Look()
        try look.processes.startClaude(100)
        try look.processes.start(200, "sleep", parent: 100, environment: Self.marked)
        let before = try #require(try look.signals(at: 10).first)
        look.processes.kill(100)
        let after = try #require(try look.signals(at: 25).first)
        #expect(before.kind == .tool && after.kind == .orphan && after.belongsTo == nil)
        #expect(before.id == after.id && after.since == before.since)
        #expect(try look.jobs(at: 25) == [])
    }

    @Test("an orphan is known by its marker alone, by its session alone, and by having been a tool")
    func orphanEvidence() throws {
        var look = try Look()
        // As after a restart of the daemon.
        try look.processes.start(200, "bash", command: ["bash", "-c", "x"], environment: Self.marked)
        try look.processes.start(201, "sudo", session: 200)
        try look.processes.start(202, "apt", parent: 201, session: 200, uid: 0)
        var signals = try look.signals(at: 10)
        #expect(signals.map(\.kind) == [.orphan] && signals.first?.detail == "3 processes")
        // What it becomes later says nothing of Claude any more.
        try look.processes.startClaude(300)
        try look.processes.start(310, "bash", parent: 300, environment: [])
        #expect(try look.signals(at: 20).count == 2)
        look.processes.kill(300)
        look.processes.entries[310]?.name = "daemon"
        signals = try look.signals(at: 30)
        #expect(signals.map(\.kind) == [.orphan, .orphan])
        #expect(try look.jobs(at: 30) == [])
    }

    @Test("a tool that left its parents belongs to the Claude that its marker names")
    func daemonised() throws {
        var look = try Look()
        try look.processes.startClaude(100)
        try look.processes.start(200, "node", command: ["node", "dev"], environment: Self.marked)
        #expect(try look.signals(at: 10).first?.belongsTo == RecordedProcesses.id(100))
    }

    @Test("a marker names a Claude of the same pid namespace that was there before")
    func markersOfOthers() throws {
        var look = try Look()
        try look.processes.start(
            200, "node", environment: ["CLAUDECODE=1", "CLAUDE_PID=7"], namespace: 9, ownNumber: 20)
        try look.processes.start(300, "claude", namespace: 9, ownNumber: 7)
        look.processes.claude[300] = RecordedProcesses.id(300)
        try look.processes.start(
            400, "node", environment: ["CLAUDECODE=1", "CLAUDE_PID=7"], namespace: 9, ownNumber: 40)
        try look.processes.start(
            500, "node", environment: ["CLAUDECODE=1", "CLAUDE_PID=7"], namespace: 8, ownNumber: 50)
        let signals = try look.signals(at: 10)
        #expect(signals.map(\.pid) == [200, 400, 500])
        #expect(signals.map(\.belongsTo) == [nil, RecordedProcesses.id(300), nil])
    }

    @Test("what a Claude within a tool runs is its own, and its servers are not the outer one's tools")
    func nested() throws {
        var look = try Look()
        try look.processes.startClaude(100)
        try look.processes.start(
            200, "bash", parent: 100, command: ["bash", "-c", "claude -p"], environment: Self.marked)
        try look.processes.startClaude(210, parent: 200, session: 200, environment: Self.marked)
        try look.processes.start(211, "node", parent: 210, session: 200, environment: Self.marked)
        try look.processes.start(
            220, "pytest", parent: 210, environment: ["CLAUDECODE=1", "CLAUDE_PID=210"])
        let signals = try look.signals(at: 10)
        #expect(signals.map(\.belongsTo) == [RecordedProcesses.id(100), RecordedProcesses.id(210)])
        #expect(signals.map(\.pid) == [200, 220])
    }

    @Test("older versions run tools in Claude's session, and mark them")
    func withoutOwnSession() throws {
        var look = try Look()
        try look.processes.start(50, "bash", command: ["-bash"], terminal: 34816)
        try look.processes.startClaude(100, parent: 50, session: 50)
        try look.processes.start(
            200, "bash", parent: 100, session: 50, command: ["bash", "-c", "x"],
            environment: ["CLAUDECODE=1"])
        #expect(try look.signals(at: 10).map(\.belongsTo) == [RecordedProcesses.id(100)])
        #expect(look.roles.roles[50] == .shell, "the person's shell does not become a tool by the session")
    }

    @Test("what is not the workspace's is no tool, whatever its environment says")
    func foreign() throws {
        var look = try Look()
        try look.processes.start(200, "sleep", environment: Self.marked, uid: 1234, isWorkspace: false)
        #expect(try look.signals(at: 10) == [])
    }

    @Test("a tool that works makes progress, a silent one does not")
    func progress() throws {
        var look = try Look()
        try look.processes.startClaude(100)
        try look.processes.start(200, "cc", parent: 100)
        try look.processes.start(300, "sleep", parent: 100)
        _ = try look.signals(at: 0)
        for second in stride(from: Int64(15), through: 90, by: 15) {
            look.processes.entries[200]?.cpuTicks += 500
            _ = try look.signals(at: second)
        }
        #expect(try look.signals(at: 95).map(\.changedAt) == [Moment(milliseconds: 90_000), nil])
    }

    @Test("an environment that may not be read is a blind spot, and ancestry still tells")
    func blind() throws {
        var look = try Look()
        try look.processes.startClaude(100)
        try look.processes.start(200, "make", parent: 100)
        // A folder opens, and does not read.
        try #require(unlink("\(look.processes.files.root)/200/environ") == 0)
        try look.processes.files.write("", to: "200/environ/x")
        for second in [Int64(10), 25] {
            let findings = try look.tools.look(look.processes.context(at: second))
            #expect(findings.signals.map(\.pid) == [200])
            #expect(findings.blindSpot?.contains("200/environ") == true, "as long as it is so")
        }
    }
}
