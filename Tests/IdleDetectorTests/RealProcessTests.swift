import Containers
import Glibc
import ProcFS
import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("Processes of this machine")
struct RealProcessTests {
    struct TookTooLong: Error {}

    /// A child that is killed with the value.
    private final class Child {
        let pid: pid_t

        init(_ path: String, _ arguments: [String]) throws {
            var pid: pid_t = 0
            var list: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
            defer { for argument in list { free(argument) } }
            try #require(posix_spawn(&pid, path, nil, nil, &list, environ) == 0)
            self.pid = pid
        }

        func end() {
            kill(pid, SIGKILL)
            var status: Int32 = 0
            waitpid(pid, &status, 0)
        }

        deinit { end() }
    }

    private func sweep() -> ProcessSweep {
        let procfs = ProcFileSystem()
        return ProcessSweep(
            procfs: procfs, containers: ContainerFinder(procfs: procfs, dockerRoot: "/nonexistent"),
            isOwner: { _ in true })
    }

    /// Sweeps until `body` finds what it looks for.
    private func poll<Found>(
        _ sweep: inout ProcessSweep, _ body: (ProcessTable) throws -> Found?
    ) async throws -> Found {
        let deadline = Moment.now() + .seconds(60)
        while Moment.now() < deadline {
            if let found = try body(sweep.table(at: .now())) { return found }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw TookTooLong()
    }

    @Test("a process that burns CPU makes progress, one that sleeps does not")
    func progress() async throws {
        let burner = try Child("/bin/sh", ["sh", "-c", "while :; do :; done"])
        let sleeper = try Child("/bin/sleep", ["sleep", "600"])
        var sweep = sweep()
        // A tenth of what counts else, as the machine may be busy.
        var floor = ProgressFloor()
        floor.cpuPerMille = 3
        var meter = ProgressMeter<Int32>(floor: floor)
        let members = [burner.pid: [burner.pid], sleeper.pid: [sleeper.pid]]
        _ = try await poll(&sweep) { table -> Moment? in
            meter.feed(table, members: members)
            return meter.lastProgress(of: burner.pid)
        }
        #expect(meter.lastProgress(of: sleeper.pid) == nil)
    }

    @Test("a name may be anything that a file's may be")
    func oddName() async throws {
        let files = try TemporaryTree()
        let name = "a) R 1 (b\nc"
        try files.link(name, to: "/bin/sleep")
        let child = try Child("\(files.root)/\(name)", ["sleep", "600"])
        var sweep = sweep()
        let entry = try await poll(&sweep) { table in
            table.entries[child.pid].flatMap { $0.name == name ? $0 : nil }
        }
        #expect(entry.parent == getpid() && entry.session == getsid(0) && entry.uid == getuid())
    }

    @Test("a newcomer is seen without a sweep")
    func newcomer() throws {
        var sweep = sweep()
        _ = try sweep.table(at: .now())
        let child = try Child("/bin/sleep", ["sleep", "600"])
        #expect(try sweep.newcomers().contains { $0.pid == child.pid })
        #expect(try !sweep.newcomers().contains { $0.pid == child.pid })
    }

    @Test("a tool in a session of its own outlives its Claude, and is an orphan then")
    func orphan() async throws {
        let files = try TemporaryTree()
        let script = """
            CLAUDECODE=1 CLAUDE_PID=$$ setsid sh -c 'echo $$ > "\(files.root)/pid"; sleep 600; :' &
            wait
            """
        let claude = try Child("/bin/sh", ["sh", "-c", script])
        defer {
            // The whole session: killing its leader alone leaves the rest.
            if let file = fopen("\(files.root)/pid", "r") {
                var text = [CChar](repeating: 0, count: 32)
                if fgets(&text, 32, file) != nil, case let pid = atoi(text), pid > 1 { kill(-pid, SIGKILL) }
                fclose(file)
            }
        }
        let procfs = ProcFileSystem()
        var sweep = sweep()
        var probe = ToolProbe(roles: ProcessRoles(procfs: procfs))
        let found = try await poll(&sweep) { table -> IdleDetector.Signal? in
            let context = LookContext(now: table.at, processes: table, claude: [claude.pid: "claude:1:1"])
            return try probe.look(context).signals.first {
                $0.belongsTo == "claude:1:1" && $0.subject.hasPrefix("sleep")
            }
        }
        #expect(found.kind == .tool)
        claude.end()
        let orphan = try await poll(&sweep) { table -> IdleDetector.Signal? in
            try probe.look(LookContext(now: table.at, processes: table)).signals.first { $0.id == found.id }
        }
        #expect(orphan.kind == .orphan && orphan.belongsTo == nil && orphan.since == found.since)
        // A daemon that was not there before tells it by its environment.
        var fresh = ToolProbe(roles: ProcessRoles(procfs: procfs))
        let again = try await poll(&sweep) { table -> IdleDetector.Signal? in
            try fresh.look(LookContext(now: table.at, processes: table)).signals.first { $0.id == found.id }
        }
        #expect(again.kind == .orphan)
    }
}
