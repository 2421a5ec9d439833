import CaddyConfig
import Containers
import Glibc
import IdleDetector
import ProcFS
import Synchronization

/// Whose processes are the workspace's, for threads that cannot ask the state.
final class OwnerCheck: Sendable {
    private let check = Mutex<@Sendable (UInt32) -> Bool>({ _ in false })

    /// Takes a newer answer: the configuration or the users changed.
    func update(_ new: @escaping @Sendable (UInt32) -> Bool) { check.withLock { $0 = new } }

    func isOwner(_ uid: UInt32) -> Bool { check.withLock { $0 }(uid) }
}

/// Who used the published ports, from the access log.
final class WebWatch: Sendable {
    private let activity = Mutex(WebActivity())

    /// Takes requests into account; true when any of them may count.
    func add(_ entries: [AccessLogEntry], names: PortTraffic, at now: Moment) -> Bool {
        activity.withLock { activity in
            var counts = false
            // Only Caddy's check of the password sets a user; public ports have none.
            for entry in entries where entry.user != nil {
                guard let port = names.name(of: entry.host) else { continue }
                activity.add(
                    port: port, user: true, method: entry.method, isUserActivated: entry.secFetchUser,
                    isUpgrade: entry.isUpgrade, bytes: entry.bytesRead &+ entry.bytesWritten, at: now)
                counts = true
            }
            return counts
        }
    }

    func signals(now: Moment) -> [Signal] { activity.withLock { $0.signals(now: now) } }
}

/// The machine's processes, and which of them are Claude's.
private struct MachineProcesses: ProcessSource {
    var sweep: ProcessSweep
    var claude: ClaudeProcesses

    mutating func table(at now: Moment) throws(ProbeFailure) -> ProcessTable { try sweep.table(at: now) }

    mutating func hasNewClaude() -> Bool {
        // What cannot be told now is seen with the next table.
        guard let newcomers = try? sweep.newcomers() else { return false }
        return newcomers.contains { ClaudeProcesses.couldBeClaude(name: $0.name) }
    }

    mutating func claude(in table: ProcessTable) -> [Int32: String] { claude.find(in: table) }
}

/// Watches the configured folders, and those in which Claude works on this machine itself, for as long as samd runs.
private struct WorkspaceProbe: ActivityProbe {
    /// Working folders of sessions that are remembered.
    private static let folderLimit = 32
    /// What changes there is the kernel's doing.
    private static let pseudo = ["/proc", "/sys", "/dev"]

    let configured: [String]
    let procfs: ProcFileSystem
    var files: FilesProbe
    private var worked: [String] = []

    init(configured: [String], procfs: ProcFileSystem, excludes: FileExcludes) {
        self.configured = configured
        self.procfs = procfs
        files = FilesProbe(excludes: excludes)
    }

    var name: String { files.name }
    var interval: Duration { files.interval }

    mutating func look(_ context: LookContext) throws(ProbeFailure) -> ProbeFindings {
        for pid in context.claude.keys.sorted() where context.processes.entries[pid]?.container == nil {
            guard worked.count < Self.folderLimit, let folder = try? procfs.workingDirectory(of: pid),
                folder != "/",
                !worked.contains(folder), !Self.pseudo.contains(where: { folder.hasPrefix($0) })
            else { continue }
            worked.append(folder)
        }
        // What people name may be a link; what a process works in never is.
        files.setRoots(configured.map { Self.resolved($0) } + worked)
        return files.look(context)
    }

    private static func resolved(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }
}

/// Puts together what the idle monitor's thread works with.
enum IdleParts {
    static func make(_ configuration: Configuration, owners: OwnerCheck, users: any UserDatabase)
        -> IdleMonitor.Parts
    {
        let procfs = ProcFileSystem()
        let idle = configuration.idle
        var catalogue = ProcessCatalogue()
        catalogue.ignoredNames.formUnion(idle.ignoreProcesses)
        catalogue.agents += idle.agents.map { AgentDescription(name: $0, commands: [$0]) }
        var floor = ProgressFloor()
        floor.cpuPerMille = UInt64(idle.progressCPU) * 10
        floor.ioBytesPerMinute = UInt64(idle.progressIO) << 20
        floor.ticksPerSecond = UInt64(max(1, sysconf(Int32(_SC_CLK_TCK))))
        let roles = ProcessRoles(procfs: procfs, catalogue: catalogue, floor: floor)
        let userName: @Sendable (UInt32) -> String? = { users.name(of: $0) }
        let logins = LoginDirectory()
        let sweep = ProcessSweep(
            procfs: procfs, containers: ContainerFinder(procfs: procfs, dockerRoot: "/var/lib/docker"),
            isOwner: { owners.isOwner($0) })
        return IdleMonitor.Parts(
            source: MachineProcesses(sweep: sweep, claude: ClaudeProcesses(procfs: procfs)),
            probes: [
                ClaudeProbe(procfs: procfs, inotify: try? InotifyWatch()),
                ToolProbe(roles: roles, userName: userName),
                AgentProbe(procfs: procfs, roles: roles, userName: userName),
                JobProbe(roles: roles, userName: userName),
                TerminalProbe(userName: userName, logins: logins),
                SSHProbe(procfs: procfs, logins: logins),
                WorkspaceProbe(
                    configured: configuration.workspace.folders, procfs: procfs,
                    excludes: FileExcludes(idle.filesExclude)),
            ])
    }
}
