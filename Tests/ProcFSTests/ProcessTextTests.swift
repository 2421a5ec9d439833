import Glibc
import Testing

@testable import ProcFS
@testable import TestSupport

@Suite("What /proc tells about one process")
struct ProcessTextTests {
    private func parse(_ text: String) -> ProcessStatus? { ProcessStatus(Array(text.utf8).span) }

    @Test("a recorded line of a shell on a terminal is read field by field")
    func shell() throws {
        let status = try #require(
            parse(
                "4242 (bash) S 4240 4242 4242 34816 5001 4194304 2000 90000 1 12 7 5 410 88 20 0 1 0 2340661 "
                    + "8000000 1200 18446744073709551615 1 1 0 0 0 65536 3670020 1266777851 1 0 0 17 1 0 0 0 0 0\n"
            ))
        #expect(status.name.description == "bash" && status.state == UInt8(ascii: "S"))
        #expect(status.parent == 4240 && status.group == 4242 && status.session == 4242)
        #expect(status.terminal == 34816 && status.foregroundGroup == 5001)
        #expect(status.userTicks == 7 && status.systemTicks == 5)
        #expect(status.childUserTicks == 410 && status.childSystemTicks == 88)
        #expect(status.startTime == 2_340_661)
        #expect(!status.isZombie && !status.isKernelThread)
    }

    @Test(
        "names may look like anything",
        arguments: [
            "a b", "(", ")", ") R 1 1 1 1 1 (", "line\nbreak", "", "ünïcode", "fifteen bytes!!",
            "tmux: server",
        ])
    func names(name: String) {
        let text = "9 (\(name)) Z 1 2 3 0 -1 4 0 0 0 0 5 6 7 8 20 0 1 0 99\n"
        #expect(parse(text)?.name.description == name)
        #expect(parse(text)?.startTime == 99)
        #expect(parse(text)?.isZombie == true)
        #expect(parse(text)?.foregroundGroup == -1)
    }

    @Test("a name that is no UTF-8 is one all the same, and a longer one is cut")
    func oddNames() {
        let tail = Array(") S 1 2 3 0 -1 2097216 0 0 0 0 5 6 7 8 20 0 1 0 99\n".utf8)
        let broken = ProcessStatus((Array("9 (".utf8) + [0xff, 0x41] + tail).span)
        #expect(broken?.name.description == "\u{fffd}A")
        let long = ProcessStatus((Array("9 (kworker/u8:3-events_unbound".utf8) + tail).span)
        #expect(long?.name.description == "kworker/u8:3-ev")
        #expect(long?.isKernelThread == true)
    }

    @Test("a text that is cut or holds no numbers is none")
    func cut() {
        let whole = "9 (x) S 1 2 3 0 -1 4 0 0 0 0 5 6 7 8 20 0 1 0 99"
        #expect(parse(whole) != nil)
        for length in 0..<whole.utf8.count - 1 where !whole.hasPrefix("\(whole.prefix(length)) 9") {
            // Behind the last blank only the number itself is shorter.
            let text = String(whole.prefix(length))
            #expect(parse(text) == nil || text.hasSuffix(" 9"), "\(text)")
        }
        for text in [
            ")", "(", ")(", "9 x S 1", "9 (x) SS 1 2 3 0 -1 4 0 0 0 0 5 6 7 8 20 0 1 0 99",
            "9 (x) S 1 2 3 0 -1 4 0 0 0 0 5 6 7 -8 20 0 1 0 99",
            "9 (x) S 4294967296 2 3 0 -1 4 0 0 0 0 5 6 7 8 20 0 1 0 99",
            "9 (x) S - 2 3 0 -1 4 0 0 0 0 5 6 7 8 20 0 1 0 99",
        ] {
            #expect(parse(text) == nil, "\(text)")
        }
    }

    @Test("the counters of io are four, and what was moved counts once")
    func counters() {
        let text =
            "rchar: 10\nwchar: 5\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 4\ncancelled_write_bytes: 9\n"
        let io = ProcText.io(Array(text.utf8).span)
        #expect(io == ProcessIO(charactersRead: 10, charactersWritten: 5, bytesRead: 4096, bytesWritten: 4))
        #expect(io?.total == 4100)
        #expect(ProcText.io(Array("rchar: 10\nwchar: 5\nread_bytes: 4096\n".utf8).span) == nil)
        #expect(ProcText.io(Array("rchar: x\nwchar: 5\nread_bytes: 1\nwrite_bytes: 1\n".utf8).span) == nil)
        let huge = ProcessIO(charactersRead: .max, charactersWritten: 1, bytesRead: 0, bytesWritten: 0)
        #expect(huge.total == .max)
    }

    @Test("the last process of loadavg is its fifth field")
    func loadAverage() {
        #expect(ProcText.lastProcess(Array("3.92 4.43 3.44 2/116 9722\n".utf8).span) == 9722)
        for text in ["", "3.92 4.43 3.44 2/116", "1 2 3 4 x", "1 2 3 4 4294967296"] {
            #expect(ProcText.lastProcess(Array(text.utf8).span) == nil)
        }
    }

    @Test("variables are found by their whole name, the first of each, whatever stands around them")
    func variables() {
        let text = Array("HOME=/a\0HOMER=/b\0X\0=\0\0HOME=/c\0EMPTY=\0EQ=a=b\nc\0CUT=x".utf8)
        #expect(
            ProcText.variables(["HOME", "HOMER", "X", "EMPTY", "EQ", "CUT", "ME"], in: text.span)
                == ["/a", "/b", nil, "", "a=b\nc", nil, nil])
        let limit = ProcText.variableLimitBytes
        let fits = String(repeating: "v", count: limit)
        #expect(ProcText.variables(["A"], in: Array("A=\(fits)\0".utf8).span) == [fits])
        #expect(ProcText.variables(["A"], in: Array("A=\(fits)v\0A=x\0".utf8).span) == [nil])
    }

    @Test("the ids in nested namespaces are read from the outermost inwards")
    func namespacePIDs() {
        #expect(
            ProcText.namespacePIDs(Array("Name:\tx\nNSpid:\t4242\t17\t1\nNSpgid:\t9\n".utf8).span) == [
                4242, 17, 1,
            ])
        for text in ["", "NSpid:", "NSpid:\tx", "NSpid:\t1\t4294967296"] {
            #expect(ProcText.namespacePIDs(Array(text.utf8).span) == [])
        }
        let deep = "NSpid:" + String(repeating: "\t1", count: 34)
        #expect(ProcText.namespacePIDs(Array(deep.utf8).span) == [])
    }

    @Test("this process's own files say what it knows of itself")
    func own() throws {
        let procfs = ProcFileSystem()
        var buffer = ReadBuffer()
        let status = try #require(try procfs.processStatus(of: getpid(), buffer: &buffer))
        let stat = try procfs.processStat(of: getpid())
        #expect(status.parent == getppid() && status.group == getpgrp() && status.session == getsid(0))
        #expect(status.startTime == stat?.startTime)
        #expect(try procfs.namespacePIDs(of: getpid(), buffer: &buffer)?.first == getpid())
        #expect(try #require(try procfs.processIO(of: getpid(), buffer: &buffer)).charactersRead > 0)
        let path = try procfs.environment(of: getpid(), ["PATH"], buffer: &buffer)
        #expect(path == [getenv("PATH").map { String(cString: $0) }])
        #expect(try procfs.lastProcess(buffer: &buffer) > 0)
    }

    @Test("processes are listed in order, within a bound, and from a mark on")
    func listing() throws {
        let procfs = ProcFileSystem()
        var pids: [Int32] = []
        let (beyond, mark) = try procfs.listProcesses(into: &pids, limit: 1 << 22, markingUpTo: getpid() - 1)
        #expect(beyond == 0 && pids.contains(getpid()) && pids == pids.sorted())
        try procfs.listProcesses(into: &pids, limit: 9, from: try #require(mark), upTo: getpid())
        #expect(pids == [getpid()])
        #expect(try procfs.listProcesses(into: &pids, limit: 1).beyond > 0)
        #expect(pids == [1])
        // Behind the last of all there is nothing yet, and the next one will be.
        let bound = try #require(try procfs.listProcesses(into: &pids, limit: 1 << 22).mark)
        let last = try #require(pids.last)
        var child: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("600"), nil]
        defer { for argument in arguments { free(argument) } }
        try #require(posix_spawn(&child, "/bin/sleep", nil, nil, &arguments, nil) == 0)
        defer {
            kill(child, SIGKILL)
            waitpid(child, nil, 0)
        }
        try procfs.listProcesses(into: &pids, limit: 1 << 22, from: bound, upTo: .max)
        #expect(pids.contains(child) || child < last, "unless the ids began again")
        let files = try TemporaryTree()
        for pid in ["30", "4", "200", "x", "5x"] { try files.write("", to: "\(pid)/stat") }
        let recorded = try ProcFileSystem(root: files.root).listProcesses(into: &pids, limit: 9)
        #expect(pids == [4, 30, 200] && recorded.beyond == 0 && recorded.mark == nil)
    }

    @Test("a process that is gone is none, and one that may not be looked at is an error")
    func gone() throws {
        let files = try TemporaryTree()
        let procfs = ProcFileSystem(root: files.root)
        var buffer = ReadBuffer()
        #expect(try procfs.processStatus(of: 7, buffer: &buffer) == nil)
        #expect(try procfs.processIO(of: 7, buffer: &buffer) == nil)
        #expect(try procfs.environment(of: 7, ["A"], buffer: &buffer) == nil)
        #expect(try procfs.namespacePIDs(of: 7, buffer: &buffer) == nil)
        #expect(throws: ProcFSError.self) { try procfs.lastProcess(buffer: &buffer) }
        try files.write("garbled", to: "7/stat")
        try files.write("garbled", to: "7/io")
        #expect(throws: ProcFSError.self) { try procfs.processStatus(of: 7, buffer: &buffer) }
        #expect(throws: ProcFSError.self) { try procfs.processIO(of: 7, buffer: &buffer) }
    }
}
