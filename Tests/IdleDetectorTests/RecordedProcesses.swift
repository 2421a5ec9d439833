import ProcFS
import Testing

@testable import IdleDetector
@testable import TestSupport

/// Processes in a table, with what /proc would say of them in a folder of its own.
struct RecordedProcesses {
    let files: TemporaryTree
    var procfs: ProcFileSystem { ProcFileSystem(root: files.root) }
    var entries: [Int32: ProcessEntry] = [:]
    /// Pids of Claude processes.
    var claude: [Int32: String] = [:]
    private var nextStart: UInt64 = 1000

    init() throws { files = try TemporaryTree() }

    mutating func start(
        _ pid: Int32, _ name: String, parent: Int32 = 1, session: Int32? = nil, command: [String] = [],
        environment: [String] = [], terminal: Int32 = 0, uid: UInt32 = 1000, cgroup: String = "/",
        ticks: UInt64 = 0,
        isWorkspace: Bool = true, namespace: UInt64 = 1, ownNumber: Int32? = nil
    ) throws {
        entries[pid] = ProcessEntry(
            pid: pid, parent: parent, group: session ?? pid, session: session ?? pid, terminal: terminal,
            startTime: nextStart, cpuTicks: ticks, name: name, uid: uid, cgroup: cgroup,
            isWorkspace: isWorkspace)
        nextStart += 1
        try files.write(environment.map { "\($0)\0" }.joined(), to: "\(pid)/environ")
        try files.write((command.isEmpty ? [name] : command).map { "\($0)\0" }.joined(), to: "\(pid)/cmdline")
        try files.write("NSpid:\t\(pid)\t\(ownNumber ?? pid)\n", to: "\(pid)/status")
        try files.link("\(pid)/ns/pid", to: "pid:[\(namespace)]")
    }

    mutating func startClaude(
        _ pid: Int32, parent: Int32 = 1, session: Int32? = nil, environment: [String] = []
    ) throws {
        try start(pid, "claude", parent: parent, session: session, environment: environment)
        claude[pid] = Self.id(pid)
    }

    static func id(_ pid: Int32) -> String { "claude:\(pid):x" }

    /// Ends a process; its children become those of pid 1.
    mutating func kill(_ pid: Int32) {
        entries[pid] = nil
        claude[pid] = nil
        for child in entries.keys where entries[child]?.parent == pid { entries[child]?.parent = 1 }
    }

    func context(at second: Int64) -> LookContext {
        let now = Moment(milliseconds: second * 1000)
        return LookContext(now: now, processes: ProcessTable(at: now, entries: entries), claude: claude)
    }
}
