import Glibc
import ProcFS
import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("Files that a process chose, opened by a daemon of root")
struct GuardedRootTests {
    private func failure(_ machine: ClaudeMachine, _ path: String, owners: [UInt32] = [getuid()]) throws
        -> GuardedFailure?
    {
        let root = try machine.root(owners: owners)
        do throws(GuardedFailure) {
            _ = try root.contents(path, limitBytes: 64 << 10)
            return nil
        } catch {
            return error
        }
    }

    @Test("pipes, folders, devices and links are no files, and nothing waits for them")
    func kinds() throws {
        let machine = try ClaudeMachine()
        try machine.tree.write("{}", to: "root/d/file")
        try #require(mkfifo("\(machine.tree.root)/root/d/pipe", 0o666) == 0)
        try machine.tree.link("root/d/link", to: "file")
        #expect(try failure(machine, "/d/file") == nil)
        #expect(try failure(machine, "/d/pipe") == .wrongKind)
        #expect(try failure(machine, "/d") == .wrongKind)
        #expect(try failure(machine, "/d/link") == .wrongKind)
        #expect(try failure(machine, "/d/none") == .notFound)
        #expect(try failure(machine, "/d/file/x") == .notFound)
        let own = try GuardedRoot(of: getpid(), procfs: ProcFileSystem(), owners: [])
        #expect(throws: GuardedFailure.wrongKind) { try own.contents("/dev/null", limitBytes: 1) }
    }

    @Test("no path leads out of the root: neither dots nor absolute links nor magic ones")
    func confined() throws {
        let machine = try ClaudeMachine()
        try machine.tree.write("outside", to: "secret/file")
        try machine.tree.write("inside", to: "root/etc/file")
        try machine.tree.link("root/absolute", to: "/etc")
        try machine.tree.link("root/up", to: "../secret")
        try machine.tree.link("root/loop", to: "/loop")
        let root = try machine.root()
        #expect(try root.contents("/absolute/file", limitBytes: 99) == Array("inside".utf8))
        #expect(try root.contents("/../../etc/file", limitBytes: 99) == Array("inside".utf8))
        #expect(try failure(machine, "/../secret/file") == .notFound)
        #expect(try failure(machine, "/up/file") == .notFound)
        #expect(try failure(machine, "/loop/file") == .kernel(Errno(rawValue: ELOOP)))
        let own = try GuardedRoot(of: getpid(), procfs: ProcFileSystem(), owners: [])
        #expect(throws: GuardedFailure.kernel(Errno(rawValue: ELOOP))) {
            try own.contents("/proc/self/root/etc/hostname", limitBytes: 4096)
        }
    }

    @Test("a huge file and a foreign one are refused before a byte is read")
    func refused() throws {
        let machine = try ClaudeMachine()
        try machine.tree.write("{}", to: "root/file")
        try #require(truncate("\(machine.tree.root)/root/file", 1 << 30) == 0)
        #expect(try failure(machine, "/file") == .tooLarge(limitBytes: 64 << 10))
        #expect(try failure(machine, "/file", owners: [getuid() + 1]) == .foreignOwner(getuid()))
        #expect(
            try failure(machine, "/\(String(repeating: "x/", count: 3000))")
                == .kernel(Errno(rawValue: ENAMETOOLONG)))
        #expect(try failure(machine, "/fi\0le") == .kernel(Errno(rawValue: ENAMETOOLONG)))
        #expect(
            try failure(machine, "/\(String(repeating: "x", count: 300))")
                == .kernel(Errno(rawValue: ENAMETOOLONG)))
    }

    @Test("a folder tells its names up to the bound, and opens only what is right in it")
    func folders() throws {
        let machine = try ClaudeMachine()
        for index in 0..<5 { try machine.tree.write("\(index)", to: "root/d/f\(index)") }
        try machine.tree.link("root/e", to: "/d")
        let folder = try machine.root().folder("/e")
        var names: Set<String> = []
        #expect(try folder.forEachName { names.insert($0).inserted })
        #expect(names == ["f0", "f1", "f2", "f3", "f4"])
        var count = 0
        let isWhole = try folder.forEachName(limit: 3) { _ in
            count += 1
            return true
        }
        #expect(!isWhole)
        #expect(count == 3)
        #expect(try folder.contents("f3", limitBytes: 9) == Array("3".utf8))
        #expect(try folder.status(of: "f3").sizeBytes == 1)
        for name in ["..", ".", "", "../d/f3", "/d/f3"] {
            #expect(throws: GuardedFailure.wrongKind) { try folder.contents(name, limitBytes: 9) }
        }
    }

    @Test("a file that is rewritten while it is read is a whole one, torn or absent, never anything else")
    func rewritten() async throws {
        let machine = try ClaudeMachine()
        let texts = ["busy", "waiting-permission"].compactMap {
            try? ClaudeFixtures.bytes("session-\($0).json")
        }
        let records = try texts.map { try SessionRecord(parsing: $0) }
        try machine.tree.write(String(decoding: texts[0], as: UTF8.self), to: machine.sessionFile)
        let path = "\(machine.tree.root)/\(machine.sessionFile)"
        let writer = Task.detached {
            var round = 0
            while !Task.isCancelled {
                let descriptor = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)
                for half in [texts[round % 2].prefix(100), texts[round % 2].dropFirst(100)] {
                    _ = Array(half).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
                }
                close(descriptor)
                round += 1
                await Task.yield()
            }
        }
        for _ in 0..<500 {
            switch try machine.read() {
            case .record(let record): #expect(records.contains(record))
            case .torn: break
            case .absent, .blind: Issue.record("it is there, and may be read")
            }
        }
        writer.cancel()
        await writer.value
    }
}
