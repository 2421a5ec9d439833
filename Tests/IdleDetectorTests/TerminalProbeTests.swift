import Glibc
import Testing

@testable import IdleDetector
@testable import class TestSupport.TemporaryTree

@Suite("Terminals")
struct TerminalProbeTests {
    @Test(
        "a device number is taken apart as the kernel put it together",
        arguments: [
            (34_819, "pts/3"), (35_071, "pts/255"), (1_083_392, "pts/256"), (1025, "tty1"),
            (1088, "ttyS0"), (1281, "console"), (58_624, "hvc0"), (52_288, "ttyAMA0"), (1792, "tty(7:0)"),
        ] as [(Int32, String)])
    func deviceNumbers(statField: Int32, name: String) throws {
        let device = try #require(TerminalDevice(statField: statField))
        #expect("\(device)" == name)
        let makedev =
            UInt64(device.major) << 8 | UInt64(device.minor & 0xff) | UInt64(device.minor >> 8) << 20
        #expect(TerminalDevice(deviceNumber: makedev) == device)
    }

    @Test("no terminal is no device")
    func noTerminal() { #expect(TerminalDevice(statField: 0) == nil) }

    @Test(
        "input is seen elsewhere in panes, under drivers, and under relays that have a terminal",
        arguments: [
            ("tmux: server", false, true), ("screen", false, true), ("SCREEN", true, true),
            ("zellij", false, true),
            ("dtach", false, true), ("abduco", false, true), ("expect", true, true), ("expect", false, true),
            ("script", true, true), ("script", false, false), ("sudo", true, true), ("sudo", false, false),
            ("sshd", false, false), ("sshd-session", false, false), ("containerd-shim", false, false),
            ("conmon", false, false), ("node", false, false), ("node", true, false), ("ttyd", true, false),
            ("mosh-server", false, false), ("login", false, false), ("bash", true, false),
            ("systemd", false, false),
            ("tmuxinator-not", false, false), ("", false, false),
        ])
    func makers(name: String, hasTerminal: Bool, isElsewhere: Bool) {
        #expect((TerminalMaker.reasonNotToCount(maker: name, hasTerminal: hasTerminal) != nil) == isElsewhere)
    }

    @Test("the time is compared with the one before, in whatever direction a clock jumped")
    func comparing() {
        let device = TerminalDevice(major: 136, minor: 3)
        func hadInput(_ accessed: Int64, _ before: Int64?, isNew: Bool = false) -> Bool {
            TerminalProbe.hadInput(accessed: accessed, before: before, device: device, isNew: isNew)
        }
        #expect(!hadInput(5_000_000_000, 5_000_000_000))
        #expect(hadInput(13_000_000_000, 5_000_000_000))
        #expect(hadInput(5_000_000_000, 13_000_000_000))
        #expect(!hadInput(5_000_000_000, nil))
        // Born with nanoseconds, which an update has not.
        #expect(hadInput(5_000_000_000, nil, isNew: true))
        #expect(!hadInput(5_123_456_789, nil, isNew: true))
        let console = TerminalDevice(major: 4, minor: 1)
        #expect(!TerminalProbe.hadInput(accessed: 5_000_000_000, before: nil, device: console, isNew: true))
    }

    @Test(
        "only what is called like a terminal is followed",
        arguments: [
            ("/dev/pts/3", true), ("/srv/root/dev/pts/12", true), ("/dev/tty1", true), ("/dev/console", true),
            ("/dev/hvc0", true), ("/dev/null", false), ("/net/share/3", false), ("pts", false), ("", false),
            ("/dev/pts/", false), ("socket:[3]", false), ("/dev/pts/ptmx", false),
        ])
    func paths(path: String, isTerminal: Bool) {
        #expect(TerminalInode.isTerminalPath(Array(path.utf8)) == isTerminal)
    }

    @Test("typing at a terminal is seen, what its program prints is not")
    func typing() async throws {
        // Prints all the time, and reads a line now and then.
        let session = try TerminalSession(["sh", "-c", "while :; do read -r line; echo got; done"])
        let painter = try TerminalSession(["sh", "-c", "while :; do echo paint; sleep 0.2; done"])
        var probe = TerminalProbe(userName: { _ in "dev" })
        func look() throws -> [Int32: Signal] {
            let now = Moment.now()
            let findings = probe.look(LookContext(now: now, processes: try ProcessSnapshot.table(at: now)))
            return .init(findings.signals.compactMap { signal in signal.pid.map { ($0, signal) } }) { $1 }
        }
        let first = try #require(
            try await eventually(within: 10) { () -> Signal? in
                try look()[session.pid].flatMap { $0.detail == nil ? $0 : nil }
            })
        #expect(first.kind == .terminal)
        #expect(first.changedAt == nil)
        #expect(first.subject.hasPrefix("pts/") && first.subject.hasSuffix(" of dev"))
        let seen = try await eventually(within: 20) { () -> Signal? in
            // The kernel moves the time once in 8 s, if somebody reads then.
            try session.type("x\n")
            drain(session.master)
            drain(painter.master)
            return try look()[session.pid].flatMap { $0.changedAt == nil ? nil : $0 }
        }
        let changed = try #require(seen)
        #expect(changed.id == first.id && changed.since == first.since)
        let painted = try #require(try look()[painter.pid])
        #expect(painted.changedAt == nil)
    }

    @Test(
        "a terminal of another mount namespace is reached, whatever its number is called on the host",
        .enabled(if: geteuid() == 0, "only root makes mount namespaces"))
    func otherMountNamespace() async throws {
        // A devpts of its own counts from 0 again.
        let mounts =
            "mount -t devpts -o newinstance,ptmxmode=0666 none /dev/pts && mount --bind /dev/pts/ptmx /dev/ptmx"
        let pid = try spawn(
            ["unshare", "--mount", "sh", "-c", "\(mounts) && exec script -qc 'exec sleep 100' /dev/null"],
            environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
        defer {
            kill(pid, SIGKILL)
            waitpid(pid, nil, 0)
        }
        var probe = TerminalProbe()
        let signal = try await eventually(within: 10) { () -> Signal? in
            let now = Moment.now()
            let table = try ProcessSnapshot.table(at: now)
            guard let child = table.entries.values.first(where: { $0.parent == pid && $0.name == "sleep" })
            else {
                return nil
            }
            return probe.look(LookContext(now: now, processes: table)).signals.first { $0.pid == child.pid }
        }
        let found = try #require(signal)
        #expect(found.subject.hasPrefix("pts/0 of "))
        #expect(found.detail == nil && found.kind == .terminal)
    }

    @Test("a session whose processes show no terminal is told about, and is no blind spot")
    func hiddenTerminal() async throws {
        let session = try TerminalSession(["sh", "-c", "exec sleep 100 </dev/null >/dev/null 2>&1"])
        var probe = TerminalProbe()
        let signal = try await eventually(within: 10) { () -> Signal? in
            guard let entry = ProcessSnapshot.process(session.pid), entry.name == "sleep" else { return nil }
            let table = ProcessTable(at: .boot, entries: [session.pid: entry])
            let findings = probe.look(LookContext(now: .boot, processes: table))
            #expect(findings.blindSpot == nil)
            return findings.signals.first
        }
        #expect(try #require(signal).detail == "none of its processes shows the terminal")
    }

    @Test("a terminal that a process keeps at an unusual descriptor is found")
    func unusualDescriptor() async throws {
        let session = try TerminalSession(["sh", "-c", "exec 7<&0 sleep 100 </dev/null >/dev/null 2>&1"])
        var probe = TerminalProbe()
        let signal = try await eventually(within: 10) { () -> Signal? in
            guard let entry = ProcessSnapshot.process(session.pid), entry.name == "sleep" else { return nil }
            let table = ProcessTable(at: .boot, entries: [session.pid: entry])
            return probe.look(LookContext(now: .boot, processes: table)).signals.first
        }
        let found = try #require(signal)
        #expect(found.detail == nil && found.kind == .terminal)
    }

    @Test("a process that claims another terminal than its descriptors have is not believed")
    func otherTerminal() throws {
        let session = try TerminalSession(["cat"])
        var entry = try #require(ProcessSnapshot.process(session.pid))
        entry.terminal = 34_816 + 200
        var probe = TerminalProbe()
        let findings = probe.look(
            LookContext(now: .boot, processes: ProcessTable(at: .boot, entries: [session.pid: entry])))
        #expect(findings.signals.map(\.detail) == ["none of its processes shows the terminal"])
    }

    @Test("terminals of a user's and a container's sessions are named with who and whence")
    func names() {
        let login = Login(
            id: "utmp:pts/3:90", pid: 90, user: "dev", tty: "pts/3", remoteHost: "203.0.113.7\u{1b}[2J")
        let directory = LoginDirectory(sessions: { () throws(ProbeFailure) in [login] }, recordPaths: [])
        var probe = TerminalProbe(
            proc: "/nowhere", userName: { $0 == 1000 ? "dev\n" : nil }, logins: directory)
        let table = ProcessTable(
            at: .boot,
            entries: [
                90: ProcessEntry(
                    pid: 90, parent: 1, group: 90, session: 90, startTime: 1, name: "sshd", uid: 1000),
                100: ProcessEntry(
                    pid: 100, parent: 90, group: 100, session: 100, terminal: 34_819, startTime: 2,
                    name: "bash",
                    uid: 1000),
                200: ProcessEntry(
                    pid: 200, parent: 1, group: 200, session: 200, terminal: 34_819, startTime: 2,
                    name: "bash",
                    uid: 100_000, container: "dc1"),
                300: ProcessEntry(
                    pid: 300, parent: 1, group: 300, session: 300, terminal: 1025, startTime: 2,
                    name: "agetty", uid: 0),
                400: ProcessEntry(
                    pid: 400, parent: 401, group: 400, session: 400, terminal: 34_820, startTime: 2,
                    name: "bash",
                    uid: 1000),
                401: ProcessEntry(
                    pid: 401, parent: 1, group: 401, session: 401, startTime: 2, name: "tmux: server",
                    uid: 1000),
            ])
        let signals = probe.look(LookContext(now: .boot, processes: table)).signals
        #expect(
            signals.map(\.subject) == [
                "pts/3, dev? from 203.0.113.7?[2J", "pts/3 of uid 100000 in dc1", "pts/4 of dev?",
            ])
        #expect(signals.map(\.kind) == [.terminal, .terminal, .terminalPane])
        #expect(Set(signals.map(\.id)).count == 3)
    }

    @Test("terminals beyond the bound are a blind spot")
    func bound() {
        var table = ProcessTable(at: .boot)
        for pid in 1...Int32(TerminalProbe.terminalLimit + 3) {
            table.entries[pid] = ProcessEntry(
                pid: pid, parent: 0, group: pid, session: pid, terminal: 34_816, startTime: 1, name: "sh",
                uid: 0)
        }
        var probe = TerminalProbe(proc: "/nowhere")
        let findings = probe.look(LookContext(now: .boot, processes: table))
        #expect(findings.signals.count == TerminalProbe.terminalLimit)
        #expect(findings.blindSpot?.contains("3 terminals") == true)
    }

    @Test(
        "the pane of a detached tmux session is a pane, also while something types into it",
        .enabled(if: access("/usr/bin/tmux", X_OK) == 0, "tmux is not installed"))
    func detachedTmux() async throws {
        let tree = try TemporaryTree()
        let socket = "\(tree.root)/tmux"
        let environment = ["PATH=/usr/bin:/bin", "TERM=xterm", "HOME=\(tree.root)", "LC_ALL=C.UTF-8"]
        func tmux(_ arguments: [String]) throws {
            let pid = try spawn(
                ["tmux", "-f", "/dev/null", "-S", socket] + arguments, environment: environment)
            waitpid(pid, nil, 0)
        }
        try tmux(["new-session", "-d", "sh -c 'echo $$ >\(tree.root)/pid; while :; do read -r line; done'"])
        // The socket must be there until then.
        defer { withExtendedLifetime(tree) { try? tmux(["kill-server"]) } }
        var probe = TerminalProbe()
        let pane = try await eventually(within: 20) { () -> Signal? in
            guard let text = ProcessSnapshot.text("\(tree.root)/pid"), let pid = Int32(text.dropLast()) else {
                return nil
            }
            try tmux(["send-keys", "x", "Enter"])
            let now = Moment.now()
            let signals = probe.look(LookContext(now: now, processes: try ProcessSnapshot.table(at: now)))
                .signals
            return signals.first { $0.pid == pid && $0.changedAt != nil }
        }
        let found = try #require(pane)
        #expect(found.kind == .terminalPane)
        #expect(found.detail == "a pane of tmux: who types is at its client's terminal")
    }
}

/// Reads what a terminal's programs printed, so that they are not held up.
private func drain(_ master: Int32) {
    var state = pollfd(fd: master, events: Int16(POLLIN), revents: 0)
    var bytes = [UInt8](repeating: 0, count: 4096)
    while poll(&state, 1, 0) == 1, state.revents & Int16(POLLIN) != 0 {
        guard read(master, &bytes, bytes.count) > 0 else { return }
    }
}
