import ProcFS
import Testing

@testable import IdleDetector
@testable import class TestSupport.TemporaryTree

@Suite("SSH")
struct SSHProbeTests {
    @Test(
        "a title tells an authenticated connection from everything before it",
        arguments: [
            ("sshd: dev@pts/3", "dev", true, "pts/3"), ("sshd-session: dev@pts/3", "dev", true, "pts/3"),
            ("sshd: dev@notty", "dev", true, nil), ("sshd: dev@internal-sftp", "dev", true, nil),
            ("sshd: dev@pts/1,pts/2", "dev", true, "pts/1"),
            ("sshd: dev@corp@pts/1", "dev@corp", true, "pts/1"),
            ("sshd: dev", "dev", false, nil), ("sshd: root@pts/0", "root", true, "pts/0"),
        ] as [(String, String, Bool, String?)])
    func sessions(title: String, user: String, isOpen: Bool, tty: String?) {
        #expect(SSHConnection.session(title: title) == .init(user: user, isOpen: isOpen, tty: tty))
    }

    @Test(
        "whoever is still at the door is no connection",
        arguments: [
            "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "sshd: [accepted]",
            "sshd: unknown [preauth]",
            "sshd: unknown [priv]", "sshd: dev [net]", "sshd: dev [priv]", "sshd: root [pam]",
            "sshd-session: dev [priv]",
            "sshd-auth: dev [net]", "sshd: @pts/3", "sshd:", "sshd", "", "/usr/sbin/sshd -D",
            "bash: dev@pts/3",
            "sshd: dev@pts/3 [priv]",
        ])
    func strangers(title: String) { #expect(SSHConnection.session(title: title) == nil) }

    @Test("remote ends of file transfers are told from local ones")
    func transfers() {
        #expect(SSHConnection.transfers(name: "sftp-server", arguments: []))
        #expect(
            SSHConnection.transfers(
                name: "rsync", arguments: ["rsync", "--server", "-logDtpre.iLsfxCIvu", ".", "x"]))
        #expect(!SSHConnection.transfers(name: "rsync", arguments: ["rsync", "-a", "x", "host:y"]))
        #expect(SSHConnection.transfers(name: "scp", arguments: ["scp", "-t", "/tmp"]))
        #expect(!SSHConnection.transfers(name: "scp", arguments: ["scp", "x", "host:"]))
        #expect(!SSHConnection.transfers(name: "bash", arguments: ["-t"]))
    }

    @Test("four MiB within a minute are a flow, less or slower are chatter")
    func flow() {
        let mebibyte: UInt64 = 1 << 20
        var meter = FlowMeter(count: 0, at: .boot)
        func flows(_ count: UInt64, after seconds: Int) -> Bool {
            meter.advance(to: count, at: .boot + .seconds(seconds))
        }
        #expect(!flows(3 * mebibyte, after: 45))
        #expect(flows(4 * mebibyte, after: 59))
        #expect(!flows(7 * mebibyte, after: 119))
        // Late: the mean of ten minutes is below.
        #expect(!flows(17 * mebibyte, after: 719))
        #expect(flows(60 * mebibyte, after: 1319))
        // Counted from anew.
        #expect(!flows(0, after: 1320))
    }

    /// A machine with sshd: its listener, a stranger, dev's connection with a terminal, root's without one.
    private final class Machine {
        let tree: TemporaryTree
        var table = ProcessTable(at: .boot)
        var probe: SSHProbe
        var now = Moment.boot

        init() throws {
            tree = try TemporaryTree()
            let login = Login(
                id: "utmp:pts/3:31", pid: 31, user: "dev", tty: "pts/3", remoteHost: "203.0.113.7")
            let elsewhere = Login(
                id: "utmp:pts/9:900", pid: 900, user: "eve", tty: "pts/9", remoteHost: "198.51.100.2 via mosh"
            )
            let local = Login(id: "utmp:tty1:901", pid: 901, user: "op", tty: "tty1", remoteHost: nil)
            probe = SSHProbe(
                procfs: ProcFileSystem(root: tree.root),
                logins: LoginDirectory(
                    sessions: { () throws(ProbeFailure) in [login, elsewhere, local] }, recordPaths: []))
            try add(10, parent: 1, "sshd", uid: 0, "sshd: /usr/sbin/sshd -D [listener] 1 of 10-100 startups")
            try add(20, parent: 10, "sshd", uid: 0, "sshd: unknown [priv]")
            try add(21, parent: 20, "sshd", uid: 105, "sshd: unknown [net]")
            try add(30, parent: 10, "sshd", uid: 0, "sshd: dev [priv]")
            try add(31, parent: 30, "sshd", uid: 1000, "sshd: dev@pts/3")
            try add(32, parent: 31, "bash", uid: 1000, "-bash")
            try add(40, parent: 10, "sshd-session", uid: 0, "sshd-session: root@notty")
            try add(41, parent: 40, "sftp-server", uid: 0, "/usr/lib/openssh/sftp-server")
            try add(50, parent: 10, "sshd", uid: 0, "sshd: root")
        }

        private func add(_ pid: Int32, parent: Int32, _ name: String, uid: UInt32, _ title: String) throws {
            table.entries[pid] = ProcessEntry(
                pid: pid, parent: parent, group: pid, session: pid, startTime: UInt64(pid), name: name,
                uid: uid)
            try tree.write("\(title)\0\0\0", to: "\(pid)/cmdline")
            try carry(pid, bytes: 1000)
        }

        /// Sets what a process has read and written since it began.
        func carry(_ pid: Int32, bytes: Int) throws {
            try tree.write(
                "rchar: \(bytes / 2)\nwchar: \(bytes - bytes / 2)\nsyscr: 99999999\nread_bytes: 99999999\n",
                to: "\(pid)/io")
        }

        func look() -> ProbeFindings {
            now = now + .seconds(15)
            return probe.look(LookContext(now: now, processes: table))
        }
    }

    @Test("connections are named with user, terminal and origin; strangers leave no trace")
    func connections() throws {
        let machine = try Machine()
        let findings = machine.look()
        #expect(findings.blindSpot == nil)
        #expect(findings.signals.allSatisfy { $0.kind == .ssh && $0.changedAt == nil })
        #expect(
            findings.signals.map(\.subject) == [
                "pts/3, dev from 203.0.113.7", "root", "pts/9, eve from 198.51.100.2 via mosh",
            ])
        #expect(findings.signals.map(\.id) == ["ssh:31:31", "ssh:40:40", "ssh:utmp:pts/9:900"])
    }

    @Test("a download is a transfer, a repainting program is none, nor is a flood of strangers")
    func flows() throws {
        let machine = try Machine()
        _ = machine.look()
        for step in 1...8 {
            try machine.carry(31, bytes: 1000 + step * 200_000)
            try machine.carry(41, bytes: 1000 + step * 3_000_000)
            try machine.carry(20, bytes: 1000 + step * 30_000_000)
            try machine.carry(21, bytes: 1000 + step * 30_000_000)
            try machine.carry(50, bytes: 1000 + step * 30_000_000)
            let transfers = machine.look().signals.filter { $0.kind == .transfer }
            #expect(transfers.map(\.id) == (step < 2 ? [] : ["transfer:41:41"]))
        }
        let flowed = try #require(machine.look().signals.first { $0.kind == .transfer })
        #expect(flowed.subject == "sftp-server")
        // It ended when the bytes did, and is known as long as the process.
        #expect(machine.look().signals.first { $0.kind == .transfer }?.changedAt == flowed.changedAt)
        machine.table.entries[41] = nil
        #expect(!machine.look().signals.contains { $0.kind == .transfer })
    }

    @Test("a process that vanishes while it is looked at is no blind spot, logind's refusal is one")
    func vanishing() throws {
        let tree = try TemporaryTree()
        var probe = SSHProbe(
            procfs: ProcFileSystem(root: tree.root),
            logins: LoginDirectory(
                sessions: { () throws(ProbeFailure) in throw ProbeFailure("no", hint: "do") }, recordPaths: []
            ))
        let entry = ProcessEntry(
            pid: 5, parent: 1, group: 5, session: 5, startTime: 1, name: "sshd", uid: 1000)
        let findings = probe.look(
            LookContext(now: .boot, processes: ProcessTable(at: .boot, entries: [5: entry])))
        #expect(findings == ProbeFindings(blindSpot: "no; do"))
    }
}
