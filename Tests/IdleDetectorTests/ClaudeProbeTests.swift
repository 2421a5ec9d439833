import Glibc
import ProcFS
import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("The Claude probe")
struct ClaudeProbeTests {
    private func probe(_ machine: ClaudeMachine, wall: Int64 = 0, inotify: InotifyWatch? = nil) -> ClaudeProbe
    {
        ClaudeProbe(procfs: machine.procfs, inotify: inotify, zone: .utc, wallClock: { wall })
    }

    private func write(_ status: String, _ machine: ClaudeMachine) throws {
        try machine.tree.write(ClaudeFixtures.text("session-\(status).json"), to: machine.sessionFile)
    }

    @Test("each status becomes its kind of signal, since it was seen, changed when it changed")
    func kinds() throws {
        let machine = try ClaudeMachine()
        var probe = probe(machine)
        var at: Int64 = 0
        let steps: [(String, IdleDetector.Signal.Kind, String?)] = [
            ("idle", .claudePrompt, nil), ("busy", .claudeBusy, nil),
            ("waiting-permission", .claudeAsking, "permission prompt"),
            ("waiting-input", .claudeAsking, "input needed"), ("shell", .claudeShell, nil),
        ]
        var since: Int64 = 0
        for (index, (status, kind, detail)) in steps.enumerated() {
            at += 1000
            if index == 0 || steps[index - 1].1 != kind { since = at }
            try write(status, machine)
            let findings = try probe.look(
                ClaudeMachine.context([ClaudeMachine.entry(container: "dc1")], at: at))
            #expect(
                findings.signals == [
                    IdleDetector.Signal(
                        id: "claude:4242:2351385", kind: kind, subject: "pid 4242 in dc1, /srv/app",
                        detail: detail,
                        pid: 4242, container: "dc1", since: Moment(milliseconds: since),
                        changedAt: index == 0 ? nil : Moment(milliseconds: at))
                ])
            #expect(findings.blindSpot == nil)
        }
    }

    @Test("a status never grows old, and the transcript's growth is progress")
    func progress() throws {
        let machine = try ClaudeMachine()
        var probe = probe(machine)
        try write("busy", machine)
        try machine.tree.write("{}\n", to: machine.transcript())
        let entry = ClaudeMachine.entry()
        _ = try probe.look(ClaudeMachine.context([entry], at: 0))
        let later = try probe.look(ClaudeMachine.context([entry], at: 11 * 3_600_000)).signals
        #expect(later.map(\.kind) == [.claudeBusy])
        #expect(later.first?.changedAt == nil)
        try machine.tree.write("{}\n{}\n", to: machine.transcript())
        let grown = try probe.look(ClaudeMachine.context([entry], at: 12 * 3_600_000)).signals
        #expect(grown.first?.changedAt == Moment(milliseconds: 12 * 3_600_000))
        #expect(grown.first?.since == .boot)
    }

    @Test(
        "a process without a file starts, looked at each second, then is in a dialog or of a version that writes none"
    )
    func starting() throws {
        let machine = try ClaudeMachine()
        var probe = probe(machine)
        func look(_ seconds: Int64) throws -> IdleDetector.Signal? {
            try probe.look(ClaudeMachine.context([ClaudeMachine.entry()], at: seconds * 1000)).signals.first
        }
        #expect(try look(100)?.detail == "starting")
        #expect(probe.wantsSoon == Moment(milliseconds: 101_000))
        #expect(try look(131)?.detail == "without a session yet")
        #expect(probe.wantsSoon == nil)
        try machine.tree.write("x", to: "\(machine.config)/sessions/\(ClaudeMachine.recordedPID).abc.key")
        #expect(try look(132)?.detail == "in a start-up dialog")
        #expect(try look(132)?.kind == .claudePrompt)
        try #require(
            unlink("\(machine.tree.root)/\(machine.config)/sessions/\(ClaudeMachine.recordedPID).abc.key")
                == 0)
        try machine.tree.write(
            try ClaudeFixtures.text("transcript-tool-running.jsonl"), to: machine.transcript())
        #expect(try look(200)?.kind == .claudeBusy)
        try machine.tree.write(
            try ClaudeFixtures.text("transcript-tool-interrupted.jsonl"), to: machine.transcript())
        #expect(try look(300)?.kind == .claudePrompt)
    }

    @Test("a status that is missing or not known is decided by the transcript, and unknown without one")
    func withoutStatus() throws {
        let machine = try ClaudeMachine()
        var probe = probe(machine)
        func look(_ status: String) throws -> IdleDetector.Signal? {
            let text = #"{"pid":14352,"sessionId":"\#(ClaudeMachine.sessionID)","cwd":"/srv/app"\#(status)}"#
            try machine.tree.write(text, to: machine.sessionFile)
            return try probe.look(ClaudeMachine.context([ClaudeMachine.entry()], at: 1000)).signals.first
        }
        #expect(try look("")?.kind == .claudeUnknown)
        #expect(
            try look(#","status":"dreaming""#)?.detail
                == "it says \"dreaming\", and its transcript does not tell")
        try machine.tree.write(
            try ClaudeFixtures.text("transcript-print-busy.jsonl"), to: machine.transcript())
        #expect(try look("")?.kind == .claudeBusy)
        try machine.tree.write(try ClaudeFixtures.text("transcript-print.jsonl"), to: machine.transcript())
        #expect(try look(#","status":"dreaming""#)?.kind == .claudePrompt)
    }

    @Test("a torn file keeps what it said before for a while, looked at again at once, then blinds")
    func torn() throws {
        let machine = try ClaudeMachine()
        var probe = probe(machine)
        func look(_ seconds: Int64) throws -> ProbeFindings {
            try probe.look(ClaudeMachine.context([ClaudeMachine.entry()], at: seconds * 1000))
        }
        try write("busy", machine)
        _ = try look(0)
        try machine.tree.write("{\"pid\"", to: machine.sessionFile)
        #expect(try look(10).signals.first?.kind == .claudeBusy)
        #expect(probe.wantsSoon == Moment(milliseconds: 10_200))
        let blind = try look(11)
        #expect(blind.signals.first?.kind == .claudeUnknown)
        #expect(
            blind.blindSpot
                == "pid 4242, /srv/app: /home/dev/.claude/sessions/14352.json is no whole text of JSON")
    }

    @Test("what may not be looked at is unknown and said with its reason")
    func blind() throws {
        let machine = try ClaudeMachine()
        var probe = probe(machine)
        try #require(mkdir("\(machine.tree.root)/root/home", 0o755) == 0)
        try machine.tree.link("root/home/dev", to: "/elsewhere")
        try machine.tree.write("", to: "root/elsewhere/.claude/sessions/other")
        try #require(
            mkfifo(
                "\(machine.tree.root)/root/elsewhere/.claude/sessions/\(ClaudeMachine.recordedPID).json",
                0o600) == 0)
        let findings = try probe.look(ClaudeMachine.context([ClaudeMachine.entry()], at: 0))
        #expect(findings.signals.map(\.kind) == [.claudeUnknown])
        #expect(findings.blindSpot?.hasPrefix("pid 4242") == true)
        #expect(findings.blindSpot?.hasSuffix("it is neither a regular file nor a folder") == true)
        let homeless = try ClaudeMachine(environment: "PATH=/bin\0")
        var other = self.probe(homeless)
        #expect(
            try other.look(ClaudeMachine.context([ClaudeMachine.entry()], at: 0)).blindSpot
                == "pid 4242: its environment has neither CLAUDE_CONFIG_DIR nor HOME")
    }

    @Test("a process that vanished while looked at is nothing")
    func vanished() throws {
        let machine = try ClaudeMachine()
        var probe = probe(machine)
        let findings = try probe.look(ClaudeMachine.context([ClaudeMachine.entry(pid: 999)], at: 0))
        #expect(findings == ProbeFindings())
    }

    @Test(
        "planned turns are signals of their own, at the same instant from look to look, and end with the session"
    )
    func wakeUps() throws {
        let machine = try ClaudeMachine()
        let wall = try #require(WallTime.milliseconds("2026-11-23T12:48:30Z"))
        var probe = probe(machine, wall: wall)
        try write("idle", machine)
        try machine.tree.write(try ClaudeFixtures.text("transcript-wakeups.jsonl"), to: machine.transcript())
        let entry = ClaudeMachine.entry()
        let first = try probe.look(ClaudeMachine.context([entry], at: 0)).signals
        // The job of every seven minutes comes at 12:49 and some seconds, before the loop's turn at 13:01.
        let job = try #require(first.first { $0.kind == .wakeUp })
        #expect(job.detail == "the next of 2 scheduled turns")
        #expect(job.belongsTo == "claude:4242:2351385")
        #expect(job.id == "wake-up:4242:2351385")
        let until = try #require(job.until).milliseconds
        #expect((30_000...300_000).contains(until))
        // The probe's wall clock stands still: as if it had been set back half a second.
        let second = try probe.look(ClaudeMachine.context([entry], at: 500)).signals
        #expect(second.first { $0.kind == .wakeUp } == job)
        let third = try probe.look(ClaudeMachine.context([entry], at: 60_000)).signals
        #expect(third.first { $0.kind == .wakeUp }?.until == Moment(milliseconds: until + 60_000))
        #expect(try probe.look(ClaudeMachine.context([], at: 70_000)).signals.isEmpty)
    }

    @Test("another process of the same number begins anew")
    func reusedPID() throws {
        let machine = try ClaudeMachine()
        var probe = probe(machine)
        try write("busy", machine)
        _ = try probe.look(ClaudeMachine.context([ClaudeMachine.entry()], at: 0))
        let other = try probe.look(ClaudeMachine.context([ClaudeMachine.entry(startTime: 99)], at: 5000))
            .signals
        #expect(other.map(\.id) == ["claude:4242:99"])
        #expect(other.first?.detail == "starting")
        #expect(other.first?.since == Moment(milliseconds: 5000))
    }

    @Test("a change of a session's file wakes whoever polls, and the watch ends with the process")
    func inotify() throws {
        let machine = try ClaudeMachine()
        let inotify = try InotifyWatch()
        var probe = probe(machine, inotify: inotify)
        func isReadable() -> Bool {
            var poll = pollfd(fd: probe.inotifyDescriptor, events: Int16(POLLIN), revents: 0)
            return Glibc.poll(&poll, 1, 0) == 1
        }
        try write("idle", machine)
        let context = ClaudeMachine.context([ClaudeMachine.entry()], at: 0)
        _ = try probe.look(context)
        #expect(inotify.folderCount == 1)
        #expect(!isReadable())
        try write("busy", machine)
        #expect(isReadable())
        #expect(try probe.look(context).signals.map(\.kind) == [.claudeBusy])
        #expect(!isReadable())
        _ = try probe.look(ClaudeMachine.context([], at: 1))
        #expect(inotify.folderCount == 0)
    }

    @Test("a real process's files are found through its own root, by its own environment")
    func realProcess() async throws {
        let tree = try TemporaryTree()
        var process = pid_t()
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("claude"), strdup("600"), nil]
        var environment: [UnsafeMutablePointer<CChar>?] = [
            strdup("CLAUDE_CONFIG_DIR=\(tree.root)/config"), nil,
        ]
        defer { for text in arguments + environment { free(text) } }
        try #require(posix_spawn(&process, "/bin/sleep", nil, nil, &arguments, &environment) == 0)
        defer {
            kill(process, SIGKILL)
            waitpid(process, nil, 0)
        }
        let procfs = ProcFileSystem()
        // posix_spawn(3) returns within execve(2), when the new environment is not there yet.
        let pid = process
        let environ = try await eventually(within: 30) {
            let text = try procfs.file("/proc/\(pid)/environ", limitBytes: 4096)
            return text.isEmpty ? nil : text
        }
        try #require(environ != nil)
        let startTime = try #require(try procfs.startTime(of: process))
        let namespace = try #require(try procfs.namespace(.process, of: process))
        func write(_ start: UInt64) throws {
            try tree.write(
                #"{"pid":\#(process),"status":"busy","cwd":"/srv/app","procStart":"\#(start)","#
                    + #""pidDomain":"linux:0:pid:[\#(namespace)]"}"#,
                to: "config/sessions/\(process).json")
        }
        let entry = ClaudeMachine.entry(pid: process, startTime: startTime)
        var probe = ClaudeProbe(procfs: procfs, inotify: try InotifyWatch())
        try write(startTime)
        #expect(try probe.look(ClaudeMachine.context([entry], at: 0)).signals.map(\.kind) == [.claudeBusy])
        try write(startTime + 1)
        #expect(try probe.look(ClaudeMachine.context([entry], at: 1)).signals.map(\.detail) == ["starting"])
        try #require(unlink("\(tree.root)/config/sessions/\(process).json") == 0)
        try tree.link("config/sessions/\(process).json", to: "/etc/shadow")
        let findings = try probe.look(ClaudeMachine.context([entry], at: 2))
        #expect(findings.signals.map(\.kind) == [.claudeUnknown])
        #expect(findings.blindSpot != nil)
    }

    @Test("a sessions folder that is made again is watched again")
    func folderMadeAgain() throws {
        let machine = try ClaudeMachine()
        let inotify = try InotifyWatch()
        var probe = probe(machine, inotify: inotify)
        try write("idle", machine)
        let context = ClaudeMachine.context([ClaudeMachine.entry()], at: 0)
        _ = try probe.look(context)
        let folder = "\(machine.tree.root)/\(machine.config)/sessions"
        try #require(unlink("\(machine.tree.root)/\(machine.sessionFile)") == 0)
        try #require(rmdir(folder) == 0)
        _ = try probe.look(context)
        #expect(inotify.folderCount == 0)
        try write("busy", machine)
        #expect(try probe.look(context).signals.map(\.kind) == [.claudeBusy])
        #expect(inotify.folderCount == 1)
    }
}
