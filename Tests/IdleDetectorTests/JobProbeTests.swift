import Testing

@testable import IdleDetector

@Suite("Jobs of the workspace")
struct JobProbeTests {
    private struct Look {
        var processes: RecordedProcesses
        var roles: ProcessRoles
        var probe: JobProbe

        init() throws {
            processes = try RecordedProcesses()
            roles = ProcessRoles(procfs: processes.procfs)
            probe = JobProbe(roles: roles) { $0 == 1000 ? "dev" : nil }
        }

        mutating func signals(at second: Int64) throws -> [Signal] {
            try probe.look(processes.context(at: second)).signals.sorted { ($0.pid ?? 0) < ($1.pid ?? 0) }
        }
    }

    @Test("processes are one job by control group and session, named by who made the others")
    func grouping() throws {
        var look = try Look()
        try look.processes.start(10, "tmux: server")
        try look.processes.start(20, "bash", parent: 10, command: ["-bash"], terminal: 34816, cgroup: "/a")
        try look.processes.start(21, "make", parent: 20, session: 20, cgroup: "/a")
        try look.processes.start(22, "cc1", parent: 21, session: 20, cgroup: "/a")
        try look.processes.start(23, "helper", parent: 21, session: 20, cgroup: "/b")
        try look.processes.start(30, "backup", parent: 1, uid: 1001, cgroup: "/a")
        let signals = try look.signals(at: 0)
        #expect(
            signals.map(\.subject) == [
                "make (pid 21) of dev, tmux", "helper (pid 23) of dev, tmux", "backup (pid 30) of uid 1001",
            ])
        #expect(Set(signals.map(\.id)).count == 3 && signals.allSatisfy { $0.kind == .job })
        #expect(try look.signals(at: 15).map(\.id) == signals.map(\.id))
        #expect(try look.signals(at: 15).map(\.since) == signals.map(\.since))
    }

    @Test("furniture, shells at their prompts and what is not the workspace's are no jobs")
    func exclusions() throws {
        var look = try Look()
        try look.processes.start(10, "sshd-session")
        try look.processes.start(11, "bash", parent: 10, command: ["-bash"], terminal: 34816)
        try look.processes.start(12, "node", command: ["/home/dev/.vscode-server/node", "server.js"])
        try look.processes.start(13, "rsync", parent: 10, command: ["rsync", "--server", "."])
        try look.processes.start(14, "stranger", isWorkspace: false)
        try look.processes.start(15, "codex")
        look.processes.entries[16] = ProcessEntry(
            pid: 16, parent: 1, group: 16, session: 16, startTime: 5, name: "defunct", uid: 1000,
            isZombie: true)
        #expect(try look.signals(at: 0) == [])
    }

    @Test("short commands of a loop at the prompt are progress of the shell's job")
    func loopAtPrompt() throws {
        var look = try Look()
        try look.processes.start(11, "bash", command: ["-bash"], terminal: 34816)
        #expect(try look.signals(at: 0) == [])
        look.processes.entries[11]?.cpuTicks += 400
        look.processes.entries[11]?.childTicks += 400
        #expect(try look.signals(at: 15).map(\.changedAt) == [Moment(milliseconds: 15_000)])
        #expect(try look.signals(at: 315).count == 1)
        #expect(try look.signals(at: 330) == [], "the shell has waited for long enough")
    }

    @Test("what a Claude used is no progress of the shell that it ran in")
    func endOfClaude() throws {
        var look = try Look()
        try look.processes.start(11, "bash", command: ["-bash"], terminal: 34816)
        try look.processes.startClaude(12, parent: 11, session: 11)
        look.processes.entries[12]?.cpuTicks = 90_000
        _ = try look.signals(at: 0)
        look.processes.kill(12)
        look.processes.entries[11]?.cpuTicks += 90_010
        look.processes.entries[11]?.childTicks += 90_010
        #expect(try look.signals(at: 15) == [])
    }

    @Test("a dev server is listed without progress; of those, the last 64 are")
    func silent() throws {
        var look = try Look()
        for pid in Int32(100)..<300 { try look.processes.start(pid, "node") }
        _ = try look.signals(at: 0)
        look.processes.entries[100]?.cpuTicks += 1000
        let signals = try look.signals(at: 15)
        #expect(signals.count == JobProbe.silentLimit + 1)
        #expect(signals.filter { $0.changedAt != nil }.map(\.pid) == [100])
    }

    @Test("names that would break a table are made harmless")
    func hostileNames() throws {
        var look = try Look()
        try look.processes.start(10, "a\nb\u{1b}[2J\u{202e}", command: ["x"])
        let subject = try #require(try look.signals(at: 0).first).subject
        #expect(subject == "a\u{fffd}b\u{fffd}[2J\u{fffd} (pid 10) of dev")
    }
}
