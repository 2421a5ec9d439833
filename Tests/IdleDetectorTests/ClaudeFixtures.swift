import Glibc
import ProcFS
import Testing

@testable import IdleDetector
@testable import TestSupport

/// Recorded files.
enum ClaudeFixtures {
    static func bytes(_ name: String) throws -> [UInt8] {
        let folder = "\(#filePath)".split(separator: "/").dropLast().joined(separator: "/")
        return try ProcFileSystem().file("/\(folder)/Fixtures/claude/\(name)", limitBytes: 1 << 20)
    }

    static func text(_ name: String) throws -> String { String(decoding: try bytes(name), as: UTF8.self) }
}

/// A machine with one Claude process, in a temporary folder: `proc/` and the process's root.
struct ClaudeMachine {
    static let pid: Int32 = 4242
    static let startTime: UInt64 = 2_351_385
    static let namespace: UInt64 = 4_026_531_836
    /// What the recorded sessions have for their process.
    static let recordedPID: Int32 = 14352
    static let sessionID = "bdeae4d5-7b95-44ad-87be-6940da88180c"

    let tree: TemporaryTree
    let config = "root/home/dev/.claude"
    var procfs: ProcFileSystem { ProcFileSystem(root: "\(tree.root)/proc") }

    init(environment: String = "PATH=/bin\0HOME=/home/dev\0") throws {
        tree = try TemporaryTree()
        let folder = "proc/\(Self.pid)"
        try tree.write(environment, to: "\(folder)/environ")
        try tree.write("Name:\tclaude\nNSpid:\t\(Self.pid)\t\(Self.recordedPID)\n", to: "\(folder)/status")
        try tree.write("         0          0 4294967295\n", to: "\(folder)/uid_map")
        try tree.link("\(folder)/ns/pid", to: "pid:[\(Self.namespace)]")
        try tree.link("\(folder)/cwd", to: "/srv/app")
        try tree.link("\(folder)/root", to: "\(tree.root)/root")
        try tree.write("", to: "root/srv/app/README")
    }

    var home: ClaudeHome {
        get throws { try ClaudeHome(of: Self.pid, uid: getuid(), procfs: procfs) }
    }

    func root(owners: [UInt32] = [getuid()]) throws -> GuardedRoot {
        try GuardedRoot(of: Self.pid, procfs: procfs, owners: owners)
    }

    var sessionFile: String { "\(config)/sessions/\(Self.recordedPID).json" }

    func transcript(_ session: String = Self.sessionID) -> String {
        "\(config)/projects/-srv-app/\(session).jsonl"
    }

    func read() throws -> SessionRegistry.Reading {
        SessionRegistry.read(try home, startTime: Self.startTime, in: try root())
    }

    static func entry(
        pid: Int32 = Self.pid, name: String = "claude", startTime: UInt64 = Self.startTime,
        container: String? = nil
    ) -> ProcessEntry {
        ProcessEntry(
            pid: pid, parent: 1, group: pid, session: pid, startTime: startTime, name: name, uid: getuid(),
            container: container)
    }

    static func context(_ entries: [ProcessEntry], at milliseconds: Int64) -> LookContext {
        let now = Moment(milliseconds: milliseconds)
        let table = ProcessTable(
            at: now, entries: Dictionary(uniqueKeysWithValues: entries.map { ($0.pid, $0) }))
        return LookContext(
            now: now, processes: table,
            claude: Dictionary(
                uniqueKeysWithValues: entries.map {
                    ($0.pid, ClaudeProcesses.id(pid: $0.pid, startTime: $0.startTime))
                }))
    }
}
