import Glibc
import Testing

@testable import ProcFS
@testable import TestSupport

@Suite struct ProcFileSystemTests {
    @Test("This machine's own /proc can be read")
    func thisMachine() throws {
        let procfs = ProcFileSystem()
        let pid = getpid()
        #expect(try procfs.bootID().utf8.count == 36)
        #expect(try procfs.networkNamespace() == procfs.networkNamespace(of: .process(pid)))
        #expect(try procfs.processes().contains(pid))
        #expect(try procfs.startTime(of: pid) ?? 0 > 0)
        #expect(try procfs.commandLine(of: pid)?.isEmpty == false)
        #expect(try procfs.executableName(of: pid)?.isEmpty == false)
        #expect(try procfs.workingDirectory(of: pid)?.hasPrefix("/") == true)
        var buffer = ReadBuffer()
        #expect(try procfs.tcpListeners(in: .ipv4, buffer: &buffer)?.malformedCount == 0)
        #expect(try procfs.tcpListeners(in: .ipv6, buffer: &buffer)?.malformedCount ?? 0 == 0)
    }

    @Test("The sockets of a process are found among its descriptors")
    func sockets() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var status = stat()
        try #require(fstat(descriptor, &status) == 0)
        var descriptors = 100_000
        let procfs = ProcFileSystem()
        let sockets = try #require(try procfs.sockets(of: getpid(), budget: &descriptors))
        #expect(sockets[UInt64(status.st_ino)] == descriptor)
        #expect(procfs.holds(getpid(), descriptor: descriptor, socket: UInt64(status.st_ino)))
        #expect(!procfs.holds(getpid(), descriptor: descriptor, socket: 1))
    }

    @Test("A process that is gone is nil, not an error")
    func goneProcess() throws {
        let procfs = ProcFileSystem()
        // Above the kernel's largest pid (2^22).
        let pid: Int32 = 1 << 23
        #expect(try procfs.startTime(of: pid) == nil)
        #expect(try procfs.commandLine(of: pid) == nil)
        #expect(try procfs.executableName(of: pid) == nil)
        #expect(try procfs.workingDirectory(of: pid) == nil)
        #expect(try procfs.controlGroup(of: pid) == nil)
        var descriptors = 100_000
        #expect(try procfs.sockets(of: pid, budget: &descriptors) == nil)
    }

    @Test("A recorded tree stands in for /proc")
    func recordedTree() throws {
        let tree = try TemporaryTree()
        let procfs = ProcFileSystem(root: tree.root)
        try tree.write("5bb1d0a4-7d84-4f0c-a4ee-5e1f4f9d0c6b\n", to: "sys/kernel/random/boot_id")
        try tree.link("self/ns/net", to: "net:[4026531840]")
        try tree.write("od) d (\n", to: "7/comm")
        try tree.write("node\0a b\0\0server.js\0", to: "7/cmdline")
        try tree.write("", to: "70/cmdline")
        try tree.write("1:name=systemd:/x\n0::/user.slice/a b\n", to: "7/cgroup")
        try tree.write("1:cpu:/x\n", to: "70/cgroup")
        let rest = (4...21).map(String.init).joined(separator: " ")
        try tree.write("7 (od) d () S \(rest) 31337 0 0\n", to: "7/stat")
        try tree.link("7/cwd", to: "/home/dev/app (deleted)")
        try tree.link("7/fd/0", to: "/dev/null")
        try tree.link("7/fd/3", to: "socket:[99]")
        try tree.link("7/fd/4", to: "socket:[x]")
        try tree.write("", to: "7x/comm")
        #expect(try procfs.bootID() == "5bb1d0a4-7d84-4f0c-a4ee-5e1f4f9d0c6b")
        #expect(try procfs.networkNamespace() == 4_026_531_840)
        #expect(try procfs.processes() == [7, 70])
        #expect(try procfs.executableName(of: 7) == "od) d (")
        #expect(try procfs.commandLine(of: 7) == ["node", "a b", "", "server.js"])
        #expect(try procfs.commandLine(of: 70) == [])
        #expect(try procfs.controlGroup(of: 7) == "/user.slice/a b")
        #expect(try procfs.controlGroup(of: 70) == nil)
        #expect(try procfs.startTime(of: 7) == 31337)
        #expect(try procfs.workingDirectory(of: 7) == "/home/dev/app (deleted)")
        var descriptors = 100_000
        #expect(try procfs.sockets(of: 7, budget: &descriptors) == [99: 3])
    }

    @Test("A long command line is cut at its limit")
    func longCommandLine() throws {
        let tree = try TemporaryTree()
        try tree.write(String(repeating: "x", count: 100_000), to: "7/cmdline")
        let command = try ProcFileSystem(root: tree.root).commandLine(of: 7)
        #expect(command?.map(\.utf8.count) == [ProcFileSystem.commandLimitBytes])
    }

    @Test("A table that is missing is told from one that may not be looked at")
    func missingTables() throws {
        let tree = try TemporaryTree()
        let procfs = ProcFileSystem(root: tree.root)
        var buffer = ReadBuffer()
        let missing = try #require(throws: ProcFSError.self) {
            try procfs.tcpListeners(in: .ipv4, buffer: &buffer)
        }
        #expect(missing.cause == .notFound)
        #expect(missing.description == "open \(tree.root)/self/net/tcp: nothing there")
        // Without any table there is no namespace, so its IPv6 half is not empty either.
        #expect(throws: ProcFSError.self) { try procfs.tcpListeners(in: .ipv6, buffer: &buffer) }
        try tree.write("\(TCPTableParserTests.header)\n", to: "self/net/tcp")
        #expect(try procfs.tcpListeners(in: .ipv6, buffer: &buffer) == nil)
        #expect(try procfs.tcpListeners(in: .ipv4, buffer: &buffer) == TCPTableReading())
    }

    @Test("What may not be looked at is denied, with a hint")
    func denied() throws {
        let error = ProcFSError("open", "/proc/1/fd", Errno(rawValue: EACCES))
        #expect(error.cause == .denied(Errno(rawValue: EACCES)))
        #expect(error.description == "open /proc/1/fd: Permission denied (13)")
        #expect(error.hint?.contains("CAP_SYS_PTRACE") == true)
    }

    @Test("A file beyond its bound is an error and leaves the buffer empty")
    func tooLarge() throws {
        let tree = try TemporaryTree()
        try tree.write(String(repeating: "x", count: 5001), to: "file")
        var buffer = ReadBuffer()
        try buffer.load("\(tree.root)/file", limitBytes: 5001)
        #expect(buffer.count == 5001)
        let error = try #require(throws: ProcFSError.self) {
            try buffer.load("\(tree.root)/file", limitBytes: 5000)
        }
        #expect(error.cause == .tooLarge(limitBytes: 5000))
        #expect(buffer.count == 0)
    }

    @Test(
        "A table beyond the bound is read as far as the listeners go; it is an error where they alone fill it"
    )
    func hugeTable() throws {
        let header =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        func row(_ number: Int, state: String) -> String {
            "\(number): 0100007F:0BB8 00000000:0000 \(state) 00000000:00000000 00:00000000 00000000  1000        0 \(number) 1 "
                + "0000000000000000 100 0 0 10 0\n"
        }
        let tree = try TemporaryTree()
        let rows = (0..<100).map { row($0, state: $0 < 10 ? "0A" : "01") }.joined()
        try tree.write(header + rows, to: "self/net/tcp")
        let procfs = ProcFileSystem(root: tree.root)
        var buffer = ReadBuffer()
        let cut = try #require(try procfs.tcpListeners(in: .ipv4, buffer: &buffer, limitBytes: 5000))
        #expect(cut.listeners.count == 10 && cut.malformedCount == 0 && cut.rowCount < 100)
        let error = try #require(throws: ProcFSError.self) {
            try procfs.tcpListeners(in: .ipv4, buffer: &buffer, limitBytes: 800)
        }
        #expect(error.cause == .tooLarge(limitBytes: 800))
    }

    @Test("Descriptors are looked at up to a budget over all processes")
    func budget() throws {
        let tree = try TemporaryTree()
        for number in 0..<10 { try tree.link("7/fd/\(number)", to: "socket:[\(100 + number)]") }
        let procfs = ProcFileSystem(root: tree.root)
        var budget = 15
        #expect(try procfs.sockets(of: 7, budget: &budget)?.count == 10)
        #expect(budget == 5)
        #expect(try procfs.sockets(of: 7, budget: &budget)?.count == 5)
        #expect(budget == 0)
    }
}
