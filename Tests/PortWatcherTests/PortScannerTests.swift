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
        #expect(await scanner.scan(verifying: true).observations.map(\.process?.pid) == [40])
    }

    @Test("A socket whose owner cannot be found is looked up three times, then only when verifying")
    func unknownOwner() async throws {
        let tree = try FakeProc()
        try tree.setRows(Sample.row(port: 3000, inode: 99))
        let scanner = PortScanner(procfs: tree.procfs)
        for _ in 0..<OwnerRegistry.attemptLimit {
            #expect(await scanner.scan().observations.map(\.process) == [nil])
        }
        try tree.addProcess(10, holding: 99)
        #expect(await scanner.scan().observations.map(\.process) == [nil])
        #expect(await scanner.scan(verifying: true).observations.map(\.process?.pid) == [10])
    }

    @Test("Tables that cannot be read or are garbled are gaps, not empty")
    func gaps() async throws {
        let tree = try FakeProc()
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
}

/// A folder that looks like /proc.
final class FakeProc {
    let files: TemporaryTree
    var procfs: ProcFileSystem { ProcFileSystem(root: files.root) }

    init() throws {
        files = try TemporaryTree()
        try files.link("self/ns/net", to: "net:[7]")
        try setRows("")
    }

    func setRows(_ rows: String) throws { try files.write(Sample.header + rows, to: "self/net/tcp") }

    func addProcess(_ pid: Int32, holding inode: UInt64) throws {
        let rest = (4...21).map(String.init).joined(separator: " ")
        try files.write("\(pid) (node) S \(rest) 100 0\n", to: "\(pid)/stat")
        try files.write("node\n", to: "\(pid)/comm")
        try files.write("node\0server.js\0", to: "\(pid)/cmdline")
        try files.link("\(pid)/fd/3", to: "socket:[\(inode)]")
    }

    func endProcess(_ pid: Int32) throws {
        for file in ["stat", "comm", "cmdline", "fd/3"] {
            try #require(unlink("\(files.root)/\(pid)/\(file)") == 0)
        }
        try #require(rmdir("\(files.root)/\(pid)/fd") == 0 && rmdir("\(files.root)/\(pid)") == 0)
    }
}
