import Glibc
import ProcFS
import Testing

@testable import PortWatcher
@testable import TestSupport

@Suite struct PortScannerTests {
    @Test("A real listener is found with its owner, and is gone when closed")
    func realListener() async throws {
        let scanner = PortScanner(procfs: ProcFileSystem())
        var listener: LoopbackSocket? = try LoopbackSocket()
        let port = try #require(listener?.port)
        #expect(await observation(of: port, in: scanner.scan()) == nil)
        try listener?.listen()
        let seen = try #require(await observation(of: port, in: scanner.scan()))
        #expect(seen.listener.address == .loopbackIPv4)
        #expect(seen.listener.uid == geteuid())
        #expect(seen.listener.inode == listener?.inode)
        #expect(seen.process?.pid == getpid())
        #expect(seen.process?.command.isEmpty == false)
        #expect(seen.process?.cwd?.hasPrefix("/") == true)
        listener = nil
        #expect(await observation(of: port, in: scanner.scan()) == nil)
    }

    private func observation(of port: UInt16, in scan: PortScan) -> PortScan.Observation? {
        #expect(scan.gaps.isEmpty)
        return scan.observations.first { $0.listener.port == port }
    }

    @Test("An owner is the newest process that holds the socket, and is looked up once")
    func ownerLookup() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        try tree.setRows(Sample.row(port: 3000, inode: 99))
        try tree.addProcess(10, holding: 99)
        try tree.addProcess(20, holding: 99)
        try tree.addProcess(30, holding: 98)
        let scanner = PortScanner(procfs: tree.procfs)
        #expect(await scanner.scan().observations.map(\.process?.pid) == [20])
        // Not looked up again, so that a newer process goes unseen until owners are verified.
        try tree.addProcess(40, holding: 99)
        #expect(await scanner.scan().observations.map(\.process?.pid) == [20])
        try tree.endProcess(20)
        #expect(await scanner.scan().observations.map(\.process?.pid) == [20])
        #expect(await scanner.scan(depth: .verifying).observations.map(\.process?.pid) == [40])
    }

    @Test("A socket whose owner cannot be found is looked up three times, then only when verifying")
    func unknownOwner() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        try tree.setRows(Sample.row(port: 3000, inode: 99))
        let scanner = PortScanner(procfs: tree.procfs)
        for _ in 0..<OwnerRegistry.attemptLimit {
            #expect(await scanner.scan().observations.map(\.process) == [nil])
        }
        try tree.addProcess(10, holding: 99)
        #expect(await scanner.scan().observations.map(\.process) == [nil])
        #expect(await scanner.scan(depth: .verifying).observations.map(\.process?.pid) == [10])
    }

    @Test("Tables that cannot be read or are garbled are gaps, not empty")
    func gaps() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        let scanner = PortScanner(procfs: tree.procfs)
        try tree.files.write("nonsense\n", to: "self/net/tcp6")
        try tree.setRows("x\n" + Sample.row(port: 3000, inode: 99))
        let scan = await scanner.scan()
        #expect(scan.observations.count == 1)
        #expect(!scan.sawNothing)
        guard case .malformed(rows: 1, _) = scan.gaps[PortScan.Place(namespace: 7, table: .ipv4)],
            case .unreadable = scan.gaps[PortScan.Place(namespace: 7, table: .ipv6)]
        else {
            Issue.record("\(scan.gaps)")
            return
        }
        let blind = await PortScanner(procfs: ProcFileSystem(root: "\(tree.files.root)/none")).scan()
        #expect(blind.sawNothing)
    }

    @Test("A garbled table in one namespace hurts neither its other table nor other namespaces")
    func garbledNamespace() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        try tree.setRows(Sample.row(port: 3000, inode: 99))
        try tree.addProcess(10, holding: 98, namespace: 8, rows: "x\n" + Sample.row(port: 4000, inode: 98))
        try tree.files.write("\u{0}\u{0}", to: "10/net/tcp6")
        try tree.addProcess(20, holding: 97, namespace: 9, rows: Sample.row(port: 5000, inode: 97))
        let scan = await PortScanner(procfs: tree.procfs).scan()
        #expect(scan.observations.map(\.listener.port).sorted() == [3000, 4000, 5000])
        #expect(scan.observations.map(\.namespace).sorted() == [7, 8, 9])
        #expect(scan.namespaces == [7, 8, 9])
        #expect(Set(scan.gaps.keys.map(\.namespace)) == [8] && scan.gaps.count == 2)
        #expect(scan.absence(at: PortScan.Place(namespace: 8, table: .ipv4)) == .unproven)
        #expect(scan.absence(at: PortScan.Place(namespace: 9, table: .ipv4)) == .absent)
    }

    @Test("Of a namespace whose first process vanishes while it is looked at, another is asked")
    func vanishingProcess() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        // As a zombie looks: listed, without its network.
        try tree.files.link("10/ns/net", to: "net:[8]")
        try tree.addProcess(20, holding: 98, namespace: 8, rows: Sample.row(port: 4000, inode: 98))
        let scanner = PortScanner(procfs: tree.procfs)
        #expect(await scanner.scan().observations.map(\.process?.pid) == [20])
        try tree.removeNetwork(of: 20)
        let scan = await scanner.scan()
        #expect(scan.observations.isEmpty)
        #expect(scan.absence(at: PortScan.Place(namespace: 8, table: .ipv4)) == .namespaceGone)
    }

    @Test("The entrance stays the same while its process is there, and changes when it is not")
    func stickyEntrance() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        try tree.addProcess(20, holding: 98, namespace: 8, rows: Sample.row(port: 4000, inode: 98))
        let scanner = PortScanner(procfs: tree.procfs)
        let twenty = NamespaceEntrance.process(pid: 20, startTime: 100)
        #expect(await scanner.scan().observations.map(\.entrance) == [twenty])
        try tree.addProcess(10, holding: 90, namespace: 8, rows: Sample.row(port: 4000, inode: 98))
        #expect(await scanner.scan(depth: .verifying).observations.map(\.entrance) == [twenty])
        try tree.endProcess(20)
        try tree.removeNetwork(of: 20)
        let scan = await scanner.scan(depth: .verifying)
        #expect(scan.observations.map(\.entrance) == [.process(pid: 10, startTime: 100)])
        #expect(scan.renewedNamespaces == [])
    }

    @Test("A namespace in which nothing of before lives is another one with the same number")
    func renewedNamespace() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        try tree.addProcess(20, holding: 98, namespace: 8, rows: Sample.row(port: 4000, inode: 98))
        let scanner = PortScanner(procfs: tree.procfs)
        // At one instant: a process known for a while is not looked at again, and this one leaves a folder behind.
        let now = SuspendingClock().now
        #expect(await scanner.scan(at: now).renewedNamespaces == [])
        try tree.removeNetwork(of: 20)
        try tree.endProcess(20)
        try tree.addProcess(30, holding: 98, namespace: 8, rows: Sample.row(port: 4000, inode: 98))
        #expect(await scanner.scan(at: now).renewedNamespaces == [8])
    }

    @Test("A process known for a while is looked at again only when verifying")
    func census() async throws {
        let start = SuspendingClock().now
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        try tree.addProcess(20, holding: 98, namespace: 7, rows: "")
        let scanner = PortScanner(procfs: tree.procfs)
        _ = await scanner.scan(at: start)
        try tree.removeNetwork(of: 20)
        try tree.setNetwork(of: 20, namespace: 8, rows: Sample.row(port: 4000, inode: 98))
        let later = start.advanced(by: .seconds(3))
        #expect(await scanner.scan(at: later).namespaces == [7])
        #expect(await scanner.scan(at: later, depth: .verifying).namespaces == [7, 8])
    }

    @Test("Beyond 256 namespaces the rest is counted, keeps its ports, and those with listeners stay watched")
    func manyNamespaces() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        try tree.addProcess(20, holding: 98, namespace: 1000, rows: Sample.row(port: 4000, inode: 98))
        let scanner = PortScanner(procfs: tree.procfs)
        _ = await scanner.scan()
        for index in 0..<300 {
            try tree.setNetwork(of: Int32(1000 + index), namespace: UInt64(2000 + index), rows: "")
        }
        let scan = await scanner.scan()
        #expect(scan.observations.map(\.namespace) == [1000])
        #expect(scan.namespaces.count == NamespaceRegistry.namespaceLimit)
        #expect(scan.unreadNamespaces.count == 302 - NamespaceRegistry.namespaceLimit)
        let unread = try #require(scan.unreadNamespaces.first)
        #expect(scan.absence(at: PortScan.Place(namespace: unread, table: .ipv4)) == .unproven)
    }

    @Test("A socket is likely to return while its process lives, or a parent that is no shell of a person")
    func mayReturn() async throws {
        for (parent, session, likely) in [
            (40, 41, true), (40, 40, false), (1, 41, false), (42, 41, false), (43, 41, false),
        ] {
            let tree = try FakeProc()
            defer { withExtendedLifetime(tree) {} }
            // A supervisor, systemd, and a parent of another session.
            try tree.addProcess(40, holding: 1, session: Int32(session))
            try tree.addProcess(42, holding: 2, session: Int32(session), name: "systemd")
            try tree.addProcess(43, holding: 3, session: 99)
            try tree.addProcess(50, holding: 98, parent: Int32(parent), session: Int32(session))
            try tree.setRows(Sample.row(port: 4000, inode: 98))
            let scanner = PortScanner(procfs: tree.procfs)
            #expect(await scanner.scan().mayReturn == [])
            try tree.setRows("")
            #expect(await scanner.scan().mayReturn == [98])
            try tree.endProcess(50)
            #expect(await scanner.scan().mayReturn == (likely ? [98] : []), "\(parent) \(session)")
            guard likely else { continue }
            try tree.endProcess(40)
            #expect(await scanner.scan().mayReturn == [])
        }
    }

    @Test("A quick scan trusts the count of sockets in other namespaces; a table without any is not read")
    func socketCounts() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        func counts(_ ipv4: Int, _ ipv6: Int) throws {
            try tree.files.write("sockets: used 9\nTCP: inuse \(ipv4) orphan 0\n", to: "20/net/sockstat")
            try tree.files.write("TCP6: inuse \(ipv6)\n", to: "20/net/sockstat6")
        }
        try tree.addProcess(20, holding: 98, namespace: 8, rows: Sample.row(port: 4000, inode: 98))
        try tree.files.write("nonsense\n", to: "20/net/tcp6")
        try counts(1, 0)
        let scanner = PortScanner(procfs: tree.procfs)
        func ports(_ depth: ScanDepth) async -> [UInt16] {
            let scan = await scanner.scan(depth: depth)
            #expect(scan.gaps.isEmpty)
            return scan.observations.map(\.listener.port)
        }
        #expect(await ports(.quick) == [4000])
        try tree.files.write(Sample.header + Sample.row(port: 5000, inode: 98), to: "20/net/tcp")
        #expect(await ports(.quick) == [4000])
        #expect(await ports(.whole) == [5000])
        try tree.files.write(Sample.header + Sample.row(port: 6000, inode: 98), to: "20/net/tcp")
        try counts(2, 0)
        #expect(await ports(.quick) == [6000])
        // A count of 0 does not end a listener.
        try counts(0, 0)
        #expect(await ports(.quick) == [6000])
    }

    @Test("An owner who is not found is looked for less and less often by verifying scans")
    func rareAttempts() async throws {
        let tree = try FakeProc()
        defer { withExtendedLifetime(tree) {} }
        try tree.setRows(Sample.row(port: 3000, inode: 99))
        let scanner = PortScanner(procfs: tree.procfs)
        for _ in 0..<OwnerRegistry.attemptLimit { _ = await scanner.scan() }
        for _ in 1...2 { _ = await scanner.scan(depth: .verifying) }
        try tree.addProcess(10, holding: 99)
        #expect(await scanner.scan(depth: .verifying).observations.map(\.process) == [nil])
        #expect(await scanner.scan(depth: .verifying).observations.map(\.process?.pid) == [10])
    }
}
