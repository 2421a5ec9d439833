import Glibc
import Testing

@testable import IdleDetector
@testable import class TestSupport.TemporaryTree

/// setfsuid(2): which user this thread is for files; Glibc's module leaves it out.
@_silgen_name("setfsuid")
@discardableResult
private func setfsuid(_ uid: UInt32) -> Int32

@Suite("Workspace files")
struct FilesProbeTests {
    /// A tree and a probe that walks it once a minute of its own time.
    private final class Workspace {
        let tree: TemporaryTree
        var probe: FilesProbe
        var now = Moment(milliseconds: 1000)

        init(entriesPerLook: Int = FilesProbe.entriesPerLook) throws {
            tree = try TemporaryTree()
            probe = FilesProbe(roots: [tree.root], entriesPerLook: entriesPerLook)
        }

        /// A whole walk.
        @discardableResult
        func walk() -> ProbeFindings {
            now = now + FilesProbe.longestPause
            var findings: ProbeFindings
            repeat {
                findings = probe.look(LookContext(now: now, processes: ProcessTable(at: now)))
            } while probe.isWalking
            return findings
        }

        /// Whether the next walk sees a change.
        func seesChange() -> Bool { walk().signals.first?.changedAt == now }

        /// A folder made of raw bytes, or a file's.
        func path(_ bytes: [UInt8]) -> [CChar] {
            (Array(tree.root.utf8) + [UInt8(ascii: "/")] + bytes + [0]).map { CChar(bitPattern: $0) }
        }
    }

    @Test("a walk of a quiet tree sees no change, however often")
    func quiet() throws {
        let workspace = try Workspace()
        try workspace.tree.write("x", to: "src/app/main.swift")
        try workspace.tree.write("x", to: "README")
        let first = workspace.walk()
        #expect(first.signals.map(\.id) == ["files:\(workspace.tree.root)"])
        #expect(first.signals.map(\.kind) == [.files])
        for _ in 0..<3 { #expect(!workspace.seesChange()) }
        #expect(workspace.walk().signals.first?.changedAt == nil)
    }

    @Test("edits, new files, removed files, renames and new folders are changes, and where is told")
    func edits() throws {
        let workspace = try Workspace()
        let root = workspace.tree.root
        try workspace.tree.write("x", to: "src/app/main.swift")
        try workspace.tree.write("x", to: "src/app/other.swift")
        workspace.walk()
        try workspace.tree.write("longer", to: "src/app/main.swift")
        let findings = workspace.walk()
        #expect(findings.signals.first?.changedAt == workspace.now)
        #expect(findings.signals.first?.detail == "src/app, newest there: main.swift")
        #expect(!workspace.seesChange())
        // The same size: the times tell.
        try workspace.tree.write("LONGER", to: "src/app/main.swift")
        #expect(workspace.seesChange())
        try workspace.tree.write("", to: "src/app/new.swift")
        #expect(workspace.seesChange())
        unlink("\(root)/src/app/new.swift")
        #expect(workspace.seesChange())
        rename("\(root)/src/app/main.swift", "\(root)/src/app/renamed.swift")
        #expect(workspace.seesChange())
        mkdir("\(root)/src/empty", 0o755)
        #expect(workspace.seesChange())
        rmdir("\(root)/src/empty")
        #expect(workspace.seesChange())
        #expect(!workspace.seesChange())
    }

    @Test("reading a file is no change, its new mode is one")
    func reading() throws {
        let workspace = try Workspace()
        try workspace.tree.write("x", to: "a")
        workspace.walk()
        #expect(ProcessSnapshot.text("\(workspace.tree.root)/a") == "x")
        #expect(!workspace.seesChange())
        chmod("\(workspace.tree.root)/a", 0o600)
        #expect(workspace.seesChange())
    }

    @Test(
        "what tools write by themselves is no change",
        arguments: [
            ".git/index", "node_modules/a/b.js", "src/__pycache__/x.pyc", "server.log",
            "deep/er/.main.swift.swp",
            "target/debug/app", "db.sqlite-wal", "notes.txt~", ".#notes.txt", "logs/today", "a/.cache/x",
        ])
    func excludes(path: String) throws {
        let workspace = try Workspace()
        try workspace.tree.write("x", to: "deep/er/main.swift")
        try workspace.tree.write("x", to: "src/main.py")
        try workspace.tree.write("x", to: "a/b")
        workspace.walk()
        try workspace.tree.write("x", to: path)
        #expect(!workspace.seesChange())
        try workspace.tree.write("changed", to: path)
        #expect(!workspace.seesChange())
    }

    @Test("patterns are matched against whole names")
    func patterns() {
        func excludes(_ pattern: String, _ name: String) -> Bool {
            let bytes = Array(name.utf8) + [0]
            return bytes.withUnsafeBytes { memory in
                let name = UnsafeRawBufferPointer(rebasing: memory.dropLast())
                return FileExcludes([pattern]).contains(name, hash: Mixing.hash(name))
            }
        }
        #expect(excludes("build", "build") && !excludes("build", "builder") && !excludes("build", "rebuild"))
        #expect(excludes("*.log", "a.log") && excludes("*.log", ".log") && !excludes("*.log", "a.log.txt"))
        #expect(excludes(".nfs*", ".nfs001") && !excludes(".nfs*", "x.nfs"))
        #expect(excludes("a?[0-9]", "ab3") && !excludes("a?[0-9]", "abc"))
        #expect(!excludes("", ""))
    }

    @Test("a walk in slices sees what a walk in one piece sees, and asks to go on soon")
    func slices() throws {
        let workspace = try Workspace(entriesPerLook: 1)
        for index in 0..<40 { try workspace.tree.write("x", to: "d\(index)/file") }
        let context = LookContext(now: workspace.now, processes: ProcessTable(at: workspace.now))
        _ = workspace.probe.look(context)
        #expect(workspace.probe.isWalking && workspace.probe.interval == FilesProbe.soon)
        workspace.walk()
        #expect(!workspace.probe.isWalking && workspace.probe.interval >= FilesProbe.shortestPause)
        #expect(!workspace.seesChange())
        try workspace.tree.write("longer", to: "d39/file")
        #expect(workspace.seesChange())
        #expect(workspace.walk().signals.first?.detail == "d39, newest there: file")
    }

    @Test("looks between two rounds walk nothing")
    func pause() throws {
        let workspace = try Workspace()
        workspace.walk()
        try workspace.tree.write("x", to: "a")
        let soon = workspace.now + .seconds(59)
        let findings = workspace.probe.look(LookContext(now: soon, processes: ProcessTable(at: soon)))
        #expect(findings.signals.first?.changedAt == nil)
        #expect(workspace.seesChange())
    }

    @Test("loops of symbolic links, FIFOs, sockets, odd names and 300 levels harm nothing")
    func hostileTree() throws {
        let workspace = try Workspace()
        let root = workspace.tree.root
        try workspace.tree.link("loop", to: ".")
        try workspace.tree.link("outside", to: "/etc")
        try workspace.tree.link("a/up", to: "../..")
        try #require(mkfifo("\(root)/fifo", 0o644) == 0)
        try #require(mkdir(workspace.path(Array("line\nbreak\u{1b}[2J".utf8)), 0o755) == 0)
        let invalid = workspace.path([0xff, 0xfe, 0x80])
        try #require(mkdir(invalid, 0o755) == 0)
        let odd = workspace.path(Array("line\nbreak\u{1b}[2J/f".utf8) + [0xff])
        close(open(odd, O_CREAT | O_WRONLY, 0o644))
        let folders = try Self.makeDeepFolders(below: root, count: 300)
        defer {
            // What the tree cannot remove by itself.
            rmdir(invalid)
            unlink(odd)
            for index in stride(from: 299, to: 31, by: -1) {
                unlinkat(folders[index - 1], "deep", AT_REMOVEDIR)
            }
            folders.forEach { close($0) }
        }
        let findings = workspace.walk()
        #expect(findings.note == "\(root): only its first 32 levels are watched")
        #expect(!workspace.seesChange())
        let descriptor = open(odd, O_WRONLY)
        #expect(write(descriptor, "xyz", 3) == 3)
        close(descriptor)
        #expect(workspace.walk().signals.first?.detail == "line?break?[2J, newest there: f\u{fffd}")
        // Below the bound nothing is seen, and nothing is harmed.
        close(openat(folders[250], "file", O_CREAT | O_WRONLY, 0o644))
        #expect(!workspace.seesChange())
        unlinkat(folders[250], "file", 0)
    }

    /// Folders within folders, each called `deep`; their descriptors.
    private static func makeDeepFolders(below root: String, count: Int) throws -> [Int32] {
        var folders: [Int32] = []
        for _ in 0..<count {
            let parent = folders.last ?? open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            try #require(mkdirat(parent, "deep", 0o755) == 0)
            folders.append(openat(parent, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
            if folders.count == 1 { close(parent) }
        }
        return folders
    }

    @Test("a folder that becomes a symbolic link in the middle of a walk is not followed")
    func swappedFolder() throws {
        let workspace = try Workspace(entriesPerLook: 1)
        let outside = try TemporaryTree()
        try outside.write("x", to: "secret/file")
        try workspace.tree.write("x", to: "victim/file")
        workspace.walk()
        // The first look has read the root and not yet what is in it.
        workspace.now = workspace.now + FilesProbe.longestPause
        _ = workspace.probe.look(LookContext(now: workspace.now, processes: ProcessTable(at: workspace.now)))
        try #require(workspace.probe.isWalking)
        let root = workspace.tree.root
        try #require(rename("\(root)/victim", "\(root)/moved") == 0)
        try workspace.tree.link("victim", to: "\(outside.root)/secret")
        #expect(workspace.walk().blindSpot == nil)
        // Nothing below the link is watched.
        workspace.walk()
        try outside.write("longer", to: "secret/file")
        #expect(!workspace.seesChange())
    }

    @Test("a root that is missing is nothing there; a link, a file, a relative path are not walked")
    func roots() throws {
        let tree = try TemporaryTree()
        try tree.write("x", to: "folder/file")
        try tree.link("link", to: "folder")
        var probe = FilesProbe()
        func findings(_ roots: [String]) -> ProbeFindings {
            probe.setRoots(roots)
            var findings: ProbeFindings
            repeat {
                findings = probe.look(LookContext(now: .boot, processes: ProcessTable(at: .boot)))
            } while probe.isWalking
            return findings
        }
        #expect(findings([]) == ProbeFindings())
        #expect(findings(["\(tree.root)/none"]) == ProbeFindings())
        #expect(findings(["folder", ""]) == ProbeFindings())
        #expect(findings(["\(tree.root)/link"]).blindSpot?.contains("symbolic link") == true)
        #expect(findings(["\(tree.root)/link/"]).signals.isEmpty)
        #expect(findings(["\(tree.root)/folder/file"]).blindSpot?.contains("symbolic link") == true)
        #expect(
            findings(["\(tree.root)/folder/", tree.root, tree.root]).signals.map(\.subject) == [tree.root])
        let many = (0..<70).map { "\(tree.root)/r\($0)" }
        #expect(findings(many).note == "6 folders beyond the bound of 64 are not watched")
    }

    @Test("what is remembered of a root outlives a change of the others")
    func keptRoots() throws {
        let workspace = try Workspace()
        let other = try TemporaryTree()
        try workspace.tree.write("x", to: "a")
        workspace.walk()
        workspace.probe.setRoots([workspace.tree.root, other.root])
        try workspace.tree.write("longer", to: "a")
        let signals = workspace.walk().signals
        #expect(signals.first { $0.subject == workspace.tree.root }?.changedAt == workspace.now)
        #expect(signals.first { $0.subject == other.root }?.changedAt == nil)
        #expect(signals.count == 2)
    }

    @Test("a folder that cannot be read is told of, and the rest is seen")
    func unreadable() throws {
        let workspace = try Workspace()
        // Root may read all: for files, this thread is nobody until the end.
        let isRoot = geteuid() == 0
        if isRoot { try #require(chmod(workspace.tree.root, 0o777) == 0) }
        try workspace.tree.write("x", to: "closed/file")
        try workspace.tree.write("x", to: "open/file")
        try #require(chmod("\(workspace.tree.root)/closed", 0) == 0)
        defer { chmod("\(workspace.tree.root)/closed", 0o755) }
        if isRoot { setfsuid(65_534) }
        defer { if isRoot { setfsuid(0) } }
        #expect(workspace.walk().note?.contains("1 entries cannot be looked at") == true)
        if isRoot { setfsuid(0) }
        try workspace.tree.write("longer", to: "open/file")
        if isRoot { setfsuid(65_534) }
        #expect(workspace.seesChange())
    }

    @Test("fingerprints depend on the set of folders, and forget what is gone after a whole walk alone")
    func prints() {
        var prints = FolderPrints()
        prints.begin()
        for key: UInt64 in [5, 1, 3] { #expect(prints.record(key: key, print: key * 10) == .new) }
        prints.finish(isWhole: true, limit: 100)
        #expect(prints.folders.map(\.key) == [1, 3, 5])
        prints.begin()
        #expect(prints.record(key: 3, print: 30) == .same)
        #expect(prints.record(key: 5, print: 51) == .changed)
        #expect(prints.record(key: 4, print: 40) == .new)
        prints.finish(isWhole: false, limit: 100)
        #expect(prints.folders.map(\.key) == [1, 3, 4, 5])
        prints.begin()
        #expect(prints.record(key: 5, print: 51) == .same)
        prints.finish(isWhole: true, limit: 100)
        #expect(prints.folders.map(\.key) == [5])
    }
}
