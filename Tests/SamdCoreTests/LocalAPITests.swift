import Glibc
import HTTPClient
import IdleDetector
import Logging
import ProcFS
import Subprocess
import Supervision
import Synchronization
import Testing

@testable import SamdCore
@testable import TestSupport

/// The local API, served on a real socket in a temporary folder.
@Suite struct LocalAPITests {
    private let folder: TemporaryTree
    private let fixture = StateFixture()
    private let holds = KeeperFixture()
    private var socket: String { "\(folder.root)/samd.sock" }

    init() throws { folder = try TemporaryTree() }

    /// Runs `body` against a server that is ended afterwards.
    private func serving(
        listener: LocalAPIServer.Listener? = nil, mayChange: Bool = true, idle: IdleState? = nil,
        _ body: (LocalAPIClient) async throws -> Void
    ) async throws {
        let monitor = ServiceMonitor(name: "api")
        let facts = DaemonFacts(pid: 42, startedAt: "t", bootID: "b", hostName: "vm1")
        let routes = LocalAPIRoutes(
            state: fixture.state, log: fixture.log, about: facts, monitors: [monitor],
            holds: HoldRoutes(
                keeper: holds.keeper, finder: HolderFinder(procfs: ProcFileSystem(), users: SystemUsers())),
            testNotification: { () async throws(ProblemDetails) in throw NotifyProblems.noWay },
            authorization: {
                PeerAuthorization(isWorkspaceOwner: { _ in mayChange }, isInGroup: { _, _ in false })
            }, idle: idle)
        let server = LocalAPIServer(
            monitor: monitor, listener: listener ?? .path(socket), routes: routes,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let started = AsyncStream.makeStream(of: Void.self)
        let task = Task {
            defer { started.continuation.finish() }
            try await server.run()
        }
        defer { task.cancel() }
        // The file is there since bind(2), connections are taken since listen(2).
        while !isListening() { await Task.yield() }
        try await body(LocalAPIClient(socket: socket))
        task.cancel()
        for await _ in started.stream {}
        _ = try? await task.value
    }

    @Test func `connections that nobody has taken yet when the server stops are closed`() async throws {
        for _ in 0..<10 {
            var clients: [Int32] = []
            try await serving { _ in
                clients = (0..<32).map { _ in connectedSocket() }
            }
            // Not on Swift's pool: the server needs it to close them. Expectations on other threads do not know their test.
            let ended = try await onThread { [clients] in
                clients.count { client in
                    defer { close(client) }
                    var wait = pollfd(fd: client, events: Int16(POLLIN), revents: 0)
                    var byte: UInt8 = 0
                    return Glibc.poll(&wait, 1, 30_000) == 1
                        && recv(client, &byte, 1, Int32(MSG_DONTWAIT)) <= 0
                }
            }
            #expect(ended == 32)
        }
    }

    @Test func `status, ports and password are answered`() async throws {
        try await serving { client in
            await fixture.state.portsChanged([listener(3000)])
            let status = try await client.get("/v1/status", as: StatusReport.self).value
            #expect(status.pid == 42 && status.vm == "vm1" && status.ports.pending == 1)
            #expect(status.services.map(\.name) == ["api"])
            let list = try await client.get("/v1/ports", as: PortList.self).value
            #expect(list.ports.map(\.port) == [3000])
            let password = try await client.get("/v1/password", as: PasswordReport.self).value
            #expect(password == PasswordReport(user: "dev", password: "secret"))
        }
    }

    @Test func `the verdict is answered, in short with the status, and where nobody looks that is said`()
        async throws
    {
        try await serving { client in
            await fixture.state.portsChanged([])
            let report = try await client.get("/v1/idle", as: IdleReport.self).value
            #expect(report.state == "off" && report.explanation.contains("idle.enabled = false"))
            #expect(try await client.get("/v1/status", as: StatusReport.self).value.idle?.state == "off")
            await #expect(throws: LocalAPIClient.Failure.self) {
                try await client.recording(follow: false) { _ in }
            }
        }
    }

    @Test func `a recording is what the trace holds, then the present, then what happens`() async throws {
        let trace = IdleTrace(path: "\(folder.root)/trace.jsonl")
        let machine = IdleFixture(trace: trace)
        await machine.see(claude(.claudeBusy, since: morning))
        try await serving(idle: machine.state) { client in
            await fixture.state.portsChanged([])
            let (report, json) = try await client.get("/v1/idle", as: IdleReport.self)
            #expect(report.state == "active" && report.claude == "works" && json.contains("claude.busy"))
            let status = try await client.get("/v1/status", as: StatusReport.self).value
            #expect(status.idle?.summary == "active, Claude works" && status.idle?.claude == "works")
            let past = Mutex<[UInt8]>([])
            try await client.recording(follow: false) { bytes in past.withLock { $0 += bytes } }
            let recording = try IdleRecording.parse(past.withLock { $0 }, file: "past")
            #expect(recording.segments.map(\.snapshots.count) == [1, 1])
            let live = Mutex<[UInt8]>([])
            let (pieces, continuation) = AsyncStream.makeStream(of: Void.self)
            let follower = Task {
                try await client.recording(follow: true) { bytes in
                    live.withLock { $0 += bytes }
                    continuation.yield()
                }
            }
            for await _ in pieces {
                let lines = live.withLock { $0.count { $0 == UInt8(ascii: "\n") } }
                if lines == 4 {
                    await machine.advance(.seconds(2))
                    await machine.see(claude(.claudePrompt, since: machine.now))
                }
                if lines >= 5 { break }
            }
            follower.cancel()
            let all = try IdleRecording.parse(live.withLock { $0 }, file: "live")
            #expect(all.segments.last?.snapshots.last?.signals.map(\.kind) == [.claudePrompt])
        }
        trace.close()
    }

    @Test(.enabled(if: geteuid() == 0, "takes another uid, which needs root"))
    func `the password is for those who may change things`() async throws {
        chmod(folder.root, 0o711)
        try await serving(mayChange: false) { _ in
            // The peer's credentials are those at connect(2): a child with another uid asks over its own connection.
            let answer = try await OtherUser.get("/v1/password", socket: socket, uid: 65_534)
            #expect(answer.contains("403") && answer.contains("urn:samd:problem:forbidden"))
            #expect(!answer.contains("secret"))
        }
    }

    @Test func `a hold is taken for the process that asks, listed and released`() async throws {
        try await serving { client in
            let request = HoldRequest(reason: "release", duration: .seconds(60), whileProcess: true)
            let taken = try await client.send("POST", "/v1/holds", request, as: HoldReport.self).value
            #expect(taken.process?.pid == getpid() && taken.by.uid == geteuid() && taken.by.pid == getpid())
            #expect(taken.by.command != nil && taken.by.container == nil)
            let listed = try await client.get("/v1/holds", as: HoldList.self).value
            #expect(listed.holds.map(\.id) == [taken.id])
            let released = try await client.send("DELETE", "/v1/holds/\(taken.id)", as: HoldReport.self).value
            #expect(released.id == taken.id)
            await #expect {
                try await client.send("DELETE", "/v1/holds/\(taken.id)", as: HoldReport.self)
            } throws: {
                guard case LocalAPIClient.Failure.problem(let problem) = $0 else { return false }
                return problem.type == "urn:samd:problem:no-such-hold"
            }
        }
    }

    @Test func `an unknown path is a problem with the paths there are`() async throws {
        try await serving { client in
            await #expect(throws: LocalAPIClient.Failure.self) {
                _ = try await client.get("/v1/nothing", as: PortList.self)
            }
            do {
                _ = try await client.get("/v1/nothing", as: PortList.self)
            } catch LocalAPIClient.Failure.problem(let problem) {
                #expect(problem.status == 404 && problem.type == "urn:samd:problem:not-found")
                #expect(problem.hint?.contains("/v1/ports") == true)
            }
        }
    }

    @Test func `a socket where nobody answers says what to do`() async throws {
        do {
            _ = try await LocalAPIClient(socket: "\(folder.root)/none").get(
                "/v1/status", as: StatusReport.self)
            Issue.record("somebody answered")
        } catch {
            #expect(error.description.contains("systemctl status samd"))
        }
    }

    @Test func `events are followed, resumed after an id, and a bad id is a problem`() async throws {
        fixture.log.record(.portPublished, "one")
        fixture.log.record(.portPublished, "two")
        let first = try #require(fixture.events.first)
        try await serving { client in
            var seen: [String] = []
            try await client.events(after: first.id) { event, _ in
                seen.append(event.message)
                if event.message == "two" { fixture.log.record(.portWithdrawn, "three") }
                if event.message == "three" { fixture.log.close() }
            }
            #expect(seen == ["two", "three"])
            await #expect(throws: LocalAPIClient.Failure.self) {
                _ = try await client.get("/v1/events?since=yesterday", as: PortList.self)
            }
        }
    }

    @Test func `every event that is kept is sent to a follower who asks for all`() async throws {
        for number in 0..<EventLog.capacity { fixture.log.record(.portPublished, "\(number)") }
        try await serving { client in
            var seen: [String] = []
            try await client.events(after: 0) { event, _ in
                seen.append(event.message)
                if seen.count == EventLog.capacity { fixture.log.close() }
            }
            #expect(seen == (0..<EventLog.capacity).map(String.init))
        }
    }

    @Test func `an inherited socket serves as well`() async throws {
        let (descriptor, bound) = unixSocket { bind($0, .init(__sockaddr__: $1), $2) }
        #expect(bound == 0 && listen(descriptor, 8) == 0)
        try await serving(listener: .inherited(descriptor: descriptor)) { client in
            let status = try await client.get("/v1/status", as: StatusReport.self).value
            #expect(status.pid == 42)
        }
        #expect(access(socket, F_OK) == 0, "systemd's socket stays when samd stops")
    }

    private func isListening() -> Bool {
        let (descriptor, connected) = connecting()
        close(descriptor)
        return connected == 0
    }

    private func connectedSocket() -> Int32 {
        let (descriptor, connected) = connecting()
        #expect(connected == 0)
        return descriptor
    }

    private func connecting() -> (descriptor: Int32, answer: Int32) {
        unixSocket { connect($0, .init(__sockaddr__: $1), $2) }
    }

    /// A socket with which `call` does something about the server's address, and what it answered.
    private func unixSocket(
        _ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> (descriptor: Int32, answer: Int32) {
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socket.utf8) }
        let answer = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                call(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return (descriptor, answer)
    }
}

/// A request in the name of another user, made by a curl that changed its uid.
private enum OtherUser {
    static func get(_ path: String, socket: String, uid: UInt32) async throws -> String {
        let result = try await Subprocess.run(
            .name("setpriv"),
            arguments: [
                "--reuid", "\(uid)", "--clear-groups", "curl", "--silent", "--include", "--max-time", "20",
                "--unix-socket", socket, "http://localhost\(path)",
            ], output: .string(limit: 1 << 16))
        return result.standardOutput
    }
}
