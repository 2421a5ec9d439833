import Containers
import Glibc
import ProcFS
import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("The sweep over recorded processes")
struct ProcessSweepTests {
    /// A folder that looks like /proc; its own pid namespace is 1, its own user namespace 2.
    private struct Recorded {
        let files: TemporaryTree
        var procfs: ProcFileSystem { ProcFileSystem(root: files.root) }

        init() throws {
            files = try TemporaryTree()
            try files.link("self/ns/pid", to: "pid:[1]")
            try files.link("self/ns/user", to: "user:[2]")
            try files.write("0::/system.slice/samd.service\n", to: "self/cgroup")
            try setLast(10)
        }

        func setLast(_ pid: Int32) throws { try files.write("0.1 0.1 0.1 1/10 \(pid)\n", to: "loadavg") }

        func stat(_ pid: Int32, name: String, flags: UInt64 = 0, start: UInt64 = 100, state: String = "S")
            throws
        {
            try files.write(
                "\(pid) (\(name)) \(state) 1 \(pid) \(pid) 34816 77 \(flags) 0 0 0 0 5 6 7 8 20 0 1 0 \(start) 0\n",
                to: "\(pid)/stat")
            try files.write("\(name)\n", to: "\(pid)/comm")
        }

        func add(
            _ pid: Int32, name: String = "x", uid: UInt32 = 1000, cgroup: String = "/", namespace: UInt64 = 1,
            userNamespace: UInt64 = 2, start: UInt64 = 100
        ) throws {
            try stat(pid, name: name, start: start)
            try files.write("Uid:\t\(uid)\t0\t0\t0\n", to: "\(pid)/status")
            try files.write("0::\(cgroup)\n", to: "\(pid)/cgroup")
            try files.link("\(pid)/ns/pid", to: "pid:[\(namespace)]")
            try files.link("\(pid)/ns/user", to: "user:[\(userNamespace)]")
        }

        func end(_ pid: Int32) {
            rename("\(files.root)/\(pid)", "\(files.root)/ended-\(pid)")
        }

        func sweep() -> ProcessSweep {
            ProcessSweep(
                procfs: procfs, containers: ContainerFinder(procfs: procfs, dockerRoot: files.root),
                isOwner: { $0 == 1000 }, ticksPerSecond: 100)
        }
    }

    private func moment(_ second: Int64) -> Moment { Moment(milliseconds: second * 1000) }

    @Test("a process is told with all that its files say")
    func entry() throws {
        let recorded = try Recorded()
        try recorded.add(7, name: "a) b", cgroup: "/user.slice/x")
        var sweep = recorded.sweep()
        let table = try sweep.table(at: moment(5))
        #expect(
            table.entries == [
                7: ProcessEntry(
                    pid: 7, parent: 1, group: 7, session: 7, terminal: 34816, foregroundGroup: 77,
                    startTime: 100,
                    cpuTicks: 26, childTicks: 15, name: "a) b", uid: 1000, cgroup: "/user.slice/x")
            ])
        #expect(table.at == moment(5) && table.unreadable == nil)
    }

    @Test(
        "the workspace's are an owner's, a login session's of root or an owner, and containers' that these made"
    )
    func workspace() throws {
        let recorded = try Recorded()
        try recorded.add(10, uid: 1000, cgroup: "/system.slice/x.service")
        try recorded.add(11, uid: 0, cgroup: "/system.slice/x.service")
        try recorded.add(12, uid: 0, cgroup: "/user.slice/user-0.slice/session-3.scope")
        try recorded.add(13, uid: 0, cgroup: "/user.slice/user-1000.slice/session-4.scope")
        try recorded.add(14, uid: 1234, cgroup: "/user.slice/user-1234.slice/session-5.scope")
        try recorded.add(15, uid: 999, cgroup: "/docker/x", namespace: 40)
        try recorded.add(
            16, uid: 1234, cgroup: "/user.slice/user-1234.slice/x", namespace: 41, userNamespace: 50)
        try recorded.add(17, uid: 0, cgroup: "/user.slice/user-xslice")
        var sweep = recorded.sweep()
        let table = try sweep.table(at: moment(5))
        #expect(table.entries.filter(\.value.isWorkspace).keys.sorted() == [10, 12, 13, 15])
        #expect(table.entries[15]?.container == "ns40" && table.entries[10]?.container == nil)
    }

    @Test("kernel threads are left out, and looked at again now and then")
    func kernelThreads() throws {
        let recorded = try Recorded()
        try recorded.stat(2, name: "kthreadd", flags: 0x0020_0000)
        var sweep = recorded.sweep()
        #expect(try sweep.table(at: moment(0)).entries.isEmpty)
        try recorded.add(2, name: "reused", start: 300)
        var sweeps = 1
        while try sweep.table(at: moment(15)).entries[2] == nil, sweeps < 100 { sweeps += 1 }
        #expect(sweeps <= ProcessSweep.kernelThreadRound)
    }

    @Test("what does not change is read once; what a process becomes is read anew")
    func facts() throws {
        let recorded = try Recorded()
        try recorded.add(7, name: "old", start: 100)
        var sweep = recorded.sweep()
        // Started after a second, it is old at 100 s.
        #expect(try sweep.table(at: moment(100)).entries[7]?.uid == 1000)
        try recorded.files.write("Uid:\t1001\t0\t0\t0\n", to: "7/status")
        #expect(try sweep.table(at: moment(115)).entries[7]?.uid == 1000)
        try recorded.stat(7, name: "new", start: 100)
        let entry = try #require(try sweep.table(at: moment(130)).entries[7])
        #expect(entry.uid == 1001 && entry.name == "new" && !entry.isWorkspace)
        // The same pid again.
        try recorded.stat(7, name: "new", start: 999)
        try recorded.files.write("Uid:\t1000\t0\t0\t0\n", to: "7/status")
        #expect(try sweep.table(at: moment(145)).entries[7]?.uid == 1000)
    }

    @Test("a young process is looked at until it is a minute old")
    func young() throws {
        let recorded = try Recorded()
        try recorded.add(7, start: 100_000)
        var sweep = recorded.sweep()
        for second in [Int64(1000), 1030, 1060, 1075, 1090] {
            try recorded.files.write("0::/at-\(second)\n", to: "7/cgroup")
            let cgroup = try sweep.table(at: moment(second)).entries[7]?.cgroup
            #expect(cgroup == "/at-\(min(second, 1060))")
        }
    }

    @Test("a process that has ended and is not waited for keeps what was known of it")
    func zombie() throws {
        let recorded = try Recorded()
        try recorded.add(7, cgroup: "/a")
        var sweep = recorded.sweep()
        _ = try sweep.table(at: moment(1))
        try recorded.stat(7, name: "x", state: "Z")
        try #require(unlink("\(recorded.files.root)/7/cgroup") == 0)
        let entry = try #require(try sweep.table(at: moment(16)).entries[7])
        #expect(entry.isZombie && entry.cgroup == "/a" && entry.isWorkspace)
    }

    @Test("what vanishes while it is looked at is no error, what cannot be read is one")
    func unreadable() throws {
        let recorded = try Recorded()
        try recorded.add(7)
        try recorded.files.write("", to: "8/comm")
        try recorded.files.write("garbled", to: "9/stat")
        try recorded.add(10)
        try recorded.files.write("Name:\tx\n", to: "10/status")
        var sweep = recorded.sweep()
        let table = try sweep.table(at: moment(0))
        #expect(table.entries.keys.sorted() == [7])
        #expect(table.unreadable?.count == 2)
        #expect(table.unreadable?.reason.contains("/9/stat") == true)
        var blind = ProcessSweep(
            procfs: ProcFileSystem(root: "\(recorded.files.root)/none"),
            containers: ContainerFinder(procfs: recorded.procfs, dockerRoot: "/"), isOwner: { _ in true })
        #expect(throws: ProbeFailure.self) { try blind.table(at: moment(0)) }
    }

    @Test("newcomers are told once, when the kernel has given out ids")
    func newcomers() throws {
        let recorded = try Recorded()
        try recorded.add(7)
        var sweep = recorded.sweep()
        #expect(try sweep.newcomers() == [], "there was no sweep yet")
        _ = try sweep.table(at: moment(0))
        _ = try sweep.newcomers()
        try recorded.add(11, name: "claude")
        #expect(try sweep.newcomers() == [], "no id was given out")
        try recorded.setLast(11)
        #expect(try sweep.newcomers() == [ProcessSweep.Newcomer(pid: 11, name: "claude")])
        // A fork takes its id before it can be seen.
        try recorded.add(12, name: "late")
        #expect(try sweep.newcomers().map(\.pid) == [12])
        // execve(2) keeps the id.
        try recorded.stat(12, name: "claude", start: 100)
        #expect(try sweep.newcomers() == [ProcessSweep.Newcomer(pid: 12, name: "claude")])
        #expect(try sweep.newcomers() == [])
        try recorded.setLast(3)
        try recorded.add(3, name: "wrapped")
        #expect(try sweep.newcomers().map(\.pid) == [3])
        recorded.end(12)
        #expect(try sweep.table(at: moment(15)).entries.keys.sorted() == [3, 7, 11])
        try recorded.setLast(4)
        #expect(try sweep.newcomers() == [])
        try #require(unlink("\(recorded.files.root)/loadavg") == 0)
        #expect(throws: ProbeFailure.self) { try sweep.newcomers() }
    }
}
