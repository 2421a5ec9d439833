import Testing

@testable import IdleDetector
@testable import class TestSupport.TemporaryTree

@Suite("Logins")
struct LoginTests {
    /// A record as glibc writes it.
    static func record(
        type: UInt8 = 7, pid: UInt32 = 4242, line: [UInt8] = Array("pts/3".utf8),
        user: [UInt8] = Array("dev".utf8),
        host: [UInt8] = Array("203.0.113.7".utf8)
    ) -> [UInt8] {
        var record = [UInt8](repeating: 0, count: LoginRecords.recordBytes)
        record[0] = type
        for index in 0..<4 { record[4 + index] = UInt8(truncatingIfNeeded: pid >> (8 * UInt32(index))) }
        record.replaceSubrange(8..<8 + line.count, with: line)
        record.replaceSubrange(44..<44 + user.count, with: user)
        record.replaceSubrange(76..<76 + host.count, with: host)
        return record
    }

    @Test("a user's record is a login; those of boots, gettys and the dead are not")
    func records() {
        let login = Login(
            id: "utmp:pts/3:4242", pid: 4242, user: "dev", tty: "pts/3", remoteHost: "203.0.113.7")
        #expect(LoginRecords.parse(Self.record()) == [login])
        for type: UInt8 in [0, 1, 2, 5, 6, 8, 255] {
            #expect(LoginRecords.parse(Self.record(type: type)).isEmpty)
        }
    }

    @Test("records that are torn, empty, or say no pid, user or line are left out")
    func torn() {
        #expect(LoginRecords.parse([]).isEmpty)
        #expect(LoginRecords.parse(Array(Self.record().dropLast())).isEmpty)
        #expect(LoginRecords.parse(Self.record() + [1, 2, 3]).count == 1)
        #expect(LoginRecords.parse(Self.record(pid: 0)).isEmpty)
        #expect(LoginRecords.parse(Self.record(pid: 0xffff_ffff)).isEmpty)
        #expect(LoginRecords.parse(Self.record(user: [])).isEmpty)
        #expect(LoginRecords.parse(Self.record(line: [])).isEmpty)
        #expect(LoginRecords.parse([UInt8](repeating: 0xff, count: 4 * LoginRecords.recordBytes)).isEmpty)
    }

    @Test("texts that fill their fields, are no UTF-8 or give orders to a terminal are made fit to be shown")
    func hostile() throws {
        let login = try #require(
            LoginRecords.parse(
                Self.record(
                    line: Array(repeating: 0x61, count: 32), user: [0xff, 0x0a, 0x1b, 0x5b],
                    host: Array(repeating: 0x62, count: 256))
            ).first)
        #expect(login.tty == String(repeating: "a", count: 32))
        #expect(login.user == "\u{fffd}??[")
        #expect(login.remoteHost == String(repeating: "b", count: Login.textLimitBytes))
    }

    @Test("panes and displays are from the machine itself")
    func localHosts() {
        for host in [":0", ":pts/2:S.0", "tmux(4242).%0", ""] {
            #expect(LoginRecords.parse(Self.record(host: Array(host.utf8))).map(\.remoteHost) == [nil])
        }
    }

    @Test("no more logins and records than the bounds are read")
    func bounds() {
        let many = Array(repeatElement(Self.record(), count: LoginRecords.loginLimit + 5).joined())
        #expect(LoginRecords.parse(many).count == LoginRecords.loginLimit)
    }

    @Test("logind's greeters, managers and closing sessions are nobody's login")
    func logind() {
        func login(_ className: String?, _ state: String? = "active", uid: UInt32? = 1000) -> Login? {
            Login(
                session: "5", uid: uid, className: className, state: state, tty: "pts/3",
                remoteHost: "h\u{202e}\nx")
        }
        #expect(login("user")?.remoteHost == "h??x")
        #expect(login("user")?.id == "logind:5")
        #expect(login("user-early") != nil && login(nil) != nil)
        #expect(login("greeter") == nil && login("manager") == nil && login("background") == nil)
        #expect(login("user", "closing") == nil && login("user", uid: nil) == nil)
    }

    @Test("a process's login is found by its session's scope, else by who logged in above it")
    func ofProcess() {
        let reading = LoginDirectory.Reading(logins: [
            Login(id: "logind:5", session: "5", tty: nil, remoteHost: "a"),
            Login(id: "utmp:pts/3:31", pid: 31, tty: "pts/3", remoteHost: "b"),
        ])
        func entry(_ pid: Int32, parent: Int32, cgroup: String = "/", container: String? = nil)
            -> ProcessEntry
        {
            ProcessEntry(
                pid: pid, parent: parent, group: pid, session: pid, startTime: 1, name: "x", uid: 0,
                cgroup: cgroup,
                container: container)
        }
        var table = ProcessTable(at: .boot)
        for pid: Int32 in 31...60 { table.entries[pid] = entry(pid, parent: pid - 1) }
        func host(_ entry: ProcessEntry) -> String? { reading.login(of: entry, in: table)?.remoteHost }
        let scope = "/user.slice/user-1000.slice/session-5.scope"
        #expect(host(entry(100, parent: 1, cgroup: scope)) == "a")
        #expect(host(entry(100, parent: 1, cgroup: "/user.slice/session-6.scope")) == nil)
        #expect(host(entry(100, parent: 1, cgroup: scope, container: "dc1")) == nil)
        #expect(host(entry(100, parent: 35)) == "b")
        // Too far up.
        #expect(host(entry(100, parent: 60)) == nil)
    }

    @Test("where logind knows of nobody utmp is read, and kept for a while")
    func directory() throws {
        let tree = try TemporaryTree()
        try tree.write(String(decoding: Self.record(pid: 77), as: UTF8.self), to: "utmp")
        let directory = LoginDirectory(
            sessions: { () throws(ProbeFailure) in [] },
            recordPaths: ["\(tree.root)/none", "\(tree.root)/utmp"])
        #expect(directory.reading(at: .boot).logins.map(\.user) == ["dev"])
        #expect(directory.reading(at: .boot).problem == nil)
        try tree.write("", to: "utmp")
        #expect(directory.reading(at: .boot + .seconds(9)).logins.count == 1)
        #expect(directory.reading(at: .boot + .seconds(10)).logins.isEmpty)
        let nobody = LoginDirectory(
            sessions: { () throws(ProbeFailure) in [] }, recordPaths: ["\(tree.root)/none"])
        #expect(nobody.reading(at: .boot) == LoginDirectory.Reading())
    }

    @Test("this machine's own logins can be asked for")
    func realMachine() { #expect(LoginDirectory().reading(at: .now()).problem == nil) }
}
