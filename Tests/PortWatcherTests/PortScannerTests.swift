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

    @Test(
        "Another network namespace is seen through one of its threads, and nothing but it",
        .enabled(if: geteuid() == 0, "needs root to make a network namespace"))
    func otherNamespace() async throws {
        let other = try NamespaceThread()
        defer { other.end() }
        let scan = await PortScanner(procfs: ProcFileSystem(), view: .process(other.thread)).scan()
        #expect(try scan.namespace != ProcFileSystem().networkNamespace())
        #expect(scan.gaps.isEmpty)
        #expect(scan.observations.map(\.listener.address) == [.anyIPv4])
        #expect(scan.observations.map(\.process?.pid) == [getpid()])
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
        #expect(await scanner.scan(verifyingOwners: true).observations.map(\.process?.pid) == [40])
    }

    @Test("A socket whose owner cannot be found is looked up three times, then only when verifying")
    func unknownOwner() async throws {
        let tree = try FakeProc()
        try tree.setRows(Sample.row(port: 3000, inode: 99))
        let scanner = PortScanner(procfs: tree.procfs)
        for _ in 0..<PortScanner.ownerAttempts {
            #expect(await scanner.scan().observations.map(\.process) == [nil])
        }
        try tree.addProcess(10, holding: 99)
        #expect(await scanner.scan().observations.map(\.process) == [nil])
        #expect(await scanner.scan(verifyingOwners: true).observations.map(\.process?.pid) == [10])
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
        guard case .malformed(rows: 1, _) = scan.gaps[.ipv4], case .unreadable = scan.gaps[.ipv6] else {
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

/// A thread in a network namespace of its own, with one listener there.
final class NamespaceThread {
    private(set) var thread: Int32 = 0
    private var handle = pthread_t()
    private let pipes: (ready: [Int32], end: [Int32])

    init() throws {
        var ready: [Int32] = [-1, -1]
        var end: [Int32] = [-1, -1]
        try #require(pipe2(&ready, O_CLOEXEC) == 0 && pipe2(&end, O_CLOEXEC) == 0)
        pipes = (ready, end)
        let context = Unmanaged.passUnretained(self).toOpaque()
        let code = pthread_create(
            &handle, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<NamespaceThread>.fromOpaque(context).takeUnretainedValue().listen()
                return nil
            }, context)
        try #require(code == 0)
        try #require(read(pipes.ready[0], &thread, 4) == 4)
        try #require(thread > 0)
    }

    private func listen() {
        var identifier: Int32 = unshare(CLONE_NEWNET) == 0 ? gettid() : -1
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        // Without an address the kernel chooses a free port on 0.0.0.0.
        if Glibc.listen(descriptor, 1) != 0 { identifier = -1 }
        write(pipes.ready[1], &identifier, 4)
        var byte: UInt8 = 0
        read(pipes.end[0], &byte, 1)
        close(descriptor)
    }

    func end() {
        var byte: UInt8 = 0
        write(pipes.end[1], &byte, 1)
        pthread_join(handle, nil)
        for descriptor in pipes.ready + pipes.end { close(descriptor) }
    }
}
