import CaddyConfig
import FoundationEssentials
import PortWatcher
import ProcFS
import Synchronization
import Testing

@testable import SamdCore

/// The state of a daemon with everything around it recorded.
final class StateFixture: Sendable {
    struct Users: UserDatabase {
        func uid(of name: String) -> UInt32? { name == "dev" ? 1000 : nil }
        func name(of uid: UInt32) -> String? { uid == 1000 ? "dev" : uid == 0 ? "root" : nil }
    }

    let log = quietLog()
    let state: DaemonState
    private let recorded: Recorded

    private final class Recorded: Sendable {
        let documents = Mutex<[CaddyDocument]>([])
        let statusLines = Mutex<[String]>([])
        let ended = Mutex<[[String]]>([])
        let pauses = Pauses()
        let saved = Mutex<[[PortOverrides.Entry]]>([])
        let unreachableRelays = Mutex<Set<String>>([])
        let relays = Mutex<[RelayRequest]>([])
        let credentials = Mutex(WebCredentials(user: "dev", password: "secret", passwordHash: "hash"))
    }

    /// The ids of the routes whose connections were ended, round by round.
    var ended: [[String]] { recorded.ended.withLock { $0 } }
    /// Returns when there were so many rounds.
    func roundsEnded(_ count: Int) async { while ended.count < count { await Task.yield() } }
    var pauses: Pauses { recorded.pauses }
    var savedOverrides: [PortOverrides.Entry]? { recorded.saved.withLock { $0.last } }
    func saveCredentials(_ new: WebCredentials) { recorded.credentials.withLock { $0 = new } }

    /// Lets the relays that were asked for come true, but for those that are refused.
    func connectRelays() async {
        let requests = recorded.relays.withLock { $0 }
        let refused = recorded.unreachableRelays.withLock { $0 }
        let names = requests.map(\.name).filter { refused.contains($0) }
        let failures = Dictionary(uniqueKeysWithValues: names.map { ($0, Refusal(reason: "no way in")) })
        await state.relaysReported(requests, failures: failures)
    }

    func refuseRelay(_ name: String) { recorded.unreachableRelays.withLock { _ = $0.insert(name) } }

    var documents: [CaddyDocument] { recorded.documents.withLock { $0 } }
    var statusLines: [String] { recorded.statusLines.withLock { $0 } }
    var events: [DaemonEvent] { log.events(after: 0) }

    init(_ configuration: Configuration = Configuration(), remembered: [PortSightings.Sighting] = []) {
        let recorded = Recorded()
        self.recorded = recorded
        state = DaemonState(
            configuration: configuration,
            credentials: WebCredentials(user: "dev", password: "secret", passwordHash: "hash"),
            hostName: "vm1",
            ephemeral: 32768...60999, log: log, users: Users(),
            sightings: PortSightings(
                remembered: remembered, now: { Date(timeIntervalSince1970: 0) }, save: { _ in }),
            effects: DaemonEffects(
                submit: { document in recorded.documents.withLock { $0.append(document) } },
                setRelays: { requests in recorded.relays.withLock { $0 = requests } },
                endConnections: { routes in recorded.ended.withLock { $0.append(routes.map(\.id)) } },
                pause: { _ in await recorded.pauses.pause() },
                saveOverrides: { entries in recorded.saved.withLock { $0.append(entries) } },
                saveOverridesSoon: { entries in recorded.saved.withLock { $0.append(entries) } },
                loadCredentials: { _ in recorded.credentials.withLock { $0 } },
                renewPassword: { WebCredentials(user: $0, password: "new", passwordHash: "h-new") },
                showStatusLine: { line in recorded.statusLines.withLock { $0.append(line) } }))
    }
}

/// Pauses that are over at once, or when they are told to be.
final class Pauses: Sendable {
    private let state = Mutex((isHeld: false, waiting: [CheckedContinuation<Void, Never>]()))

    func hold() { state.withLock { $0.isHeld = true } }

    func pause() async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if state.isHeld { state.waiting.append(continuation) }
                return !state.isHeld
            }
            if isOver { continuation.resume() }
        }
    }

    /// Waits until somebody pauses, and ends that pause.
    func endOne() async {
        while true {
            let next = state.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
            if let next { return next.resume() }
            await Task.yield()
        }
    }
}

@Suite struct DaemonStateTests {
    private let fixture = StateFixture()
    private var state: DaemonState { fixture.state }

    private func apply() async throws {
        let document = try #require(fixture.documents.last)
        await state.caddyReported(.applied(document, changed: true, took: .milliseconds(1)))
    }

    private func moveToExampleDomain() async {
        var configuration = Configuration()
        configuration.routes.domain = "example.com"
        fixture.saveCredentials(WebCredentials(user: "u", password: "p", passwordHash: "h2"))
        try? await state.reconfigure(configuration)
    }

    private let unreachable = ReconcileOutcome.unreachable(
        CaddyError(operation: "GET", kind: .unreachable, detail: "no such file", hint: "start Caddy"))

    @Test func `before the first scan nothing is written, so nothing is withdrawn after a restart`() async {
        try? await state.reconfigure(Configuration())
        #expect(fixture.documents.isEmpty)
        await state.portsChanged([])
        #expect(fixture.documents.count == 1, "an empty set of ports is a real answer")
    }

    @Test func `a port is pending until Caddy has its route, and published then`() async throws {
        await state.portsChanged([listener(3000)])
        #expect(await state.portList().ports.map(\.state) == ["pending"])
        #expect(fixture.events.isEmpty)
        try await apply()
        let port = try #require(await state.portList().ports.first)
        #expect(
            port.state == "published" && port.url == "http://3000--vm1.localhost:8080/"
                && port.auth == "basic")
        #expect(port.owner == .init(uid: 1000, user: "dev") && port.since == "1970-01-01T00:00:00.000Z")
        #expect(fixture.events.map(\.type) == ["port.published"])
        #expect(fixture.events.first?.data["host"] == "3000--vm1.localhost")
    }

    @Test func `a port that goes is withdrawn once Caddy dropped it`() async throws {
        await state.portsChanged([listener(3000)])
        try await apply()
        await state.portsChanged([])
        try await apply()
        #expect(await state.portList().ports.isEmpty)
        #expect(fixture.events.map(\.type) == ["port.published", "port.withdrawn"])
    }

    @Test func `Caddy away is told once, seen in the status line, and over when it answers`() async throws {
        await state.portsChanged([listener(3000)])
        await state.caddyReported(unreachable)
        await state.caddyReported(unreachable)
        #expect(fixture.events.map(\.type) == ["caddy.unreachable"])
        #expect(await state.statusLine().contains("1 waiting for Caddy"))
        #expect(await state.statusLine().contains("Caddy does not answer on unix//run/caddy/admin.sock"))
        #expect(await state.portList().ports.first?.reason?.contains("does not answer") == true)
        try await apply()
        #expect(fixture.events.map(\.type) == ["caddy.unreachable", "caddy.reachable", "port.published"])
        #expect(await state.statusLine() == "1 published, 0 refused")
        #expect(fixture.statusLines.last == "1 published, 0 refused")
    }

    @Test
    func `a refusal is an event for the workspace's own ports, once, and none for random or foreign ones`()
        async
    {
        await state.portsChanged([listener(5432), listener(40000), listener(22, uid: 0)])
        await state.portsChanged([listener(5432), listener(40000), listener(22, uid: 0), listener(3000)])
        #expect(fixture.events.map { "\($0.type) \($0.data["port"] ?? "")" } == ["port.refused 5432"])
        #expect(await state.counts() == .init(published: 0, pending: 1, refused: 3))
    }

    @Test func `a new configuration renames routes at once`() async throws {
        await state.portsChanged([listener(3000)])
        try await apply()
        await moveToExampleDomain()
        #expect(fixture.documents.last?.routes.first?.hosts == ["3000--vm1.example.com"])
        #expect(fixture.documents.last?.account.passwordHash == "h2")
        try await apply()
        #expect(fixture.events.map(\.type) == ["port.published", "port.withdrawn", "port.published"])
    }

    @Test func `first sightings survive a restart of the daemon and go with the port`() async throws {
        let saved = PortSightings.Sighting(port: listener(3000).identity, since: "2026-01-01T00:00:00.000Z")
        let fixture = StateFixture(remembered: [saved])
        await fixture.state.portsChanged([listener(3000)])
        #expect(await fixture.state.portList().ports.first?.since == saved.since)
        await fixture.state.portsChanged([])
        await fixture.state.portsChanged([listener(3000)])
        #expect(await fixture.state.portList().ports.first?.since == "1970-01-01T00:00:00.000Z")
    }

    @Test func `the folder of a process is shown for the workspace's own alone`() async {
        func running(_ port: UInt16, uid: UInt32) -> ListeningPort {
            var port = listener(port, uid: uid)
            port.process = OwnerProcess(
                pid: 7, startTime: 1, command: ["server"], executable: "server", cwd: "/home")
            return port
        }
        await state.portsChanged([running(3000, uid: 1000), running(3001, uid: 0)])
        let list = await state.portList().ports
        #expect(list.map { $0.process?.cwd } == ["/home", nil])
        #expect(list.map { $0.process?.command } == ["server", "server"])
    }

    @Test func `what Caddy refuses is pending, not published`() async throws {
        await state.portsChanged([listener(3000)])
        try await apply()
        await moveToExampleDomain()
        let refusal = CaddyError(operation: "PATCH", kind: .refused, detail: "address in use", hint: nil)
        await state.caddyReported(.refused(refusal))
        #expect(await state.portList().ports.map(\.state) == ["pending"])
        #expect(await state.statusLine().contains("1 waiting for Caddy; Caddy does not take samd's routes"))
    }

    @Test
    func `what goes while Caddy is away is withdrawn in the events, and what stays is not published again`()
        async throws
    {
        await state.portsChanged([listener(3000), listener(3001)])
        try await apply()
        await state.caddyReported(unreachable)
        await state.portsChanged([listener(3001)])
        try await apply()
        #expect(
            fixture.events.map(\.type) == [
                "port.published", "port.published", "caddy.unreachable", "caddy.reachable", "port.withdrawn",
            ])
    }

    /// Changes a port while Caddy takes whatever it is asked for.
    private func change(_ name: String, to change: PortChange, isByRoot: Bool = false) async throws
        -> PortReport
    {
        let before = fixture.documents.count
        let caddy = Task {
            while fixture.documents.count == before, !Task.isCancelled { await Task.yield() }
            if !Task.isCancelled { try await apply() }
        }
        defer { caddy.cancel() }
        return try await state.change(name, to: change, isByRoot: isByRoot)
    }

    @Test func `a port is made public, closed again, and who had come in is put out`() async throws {
        await state.portsChanged([listener(3000)])
        try await apply()
        let opened = try await change("3000", to: PortChange(auth: .public))
        #expect(opened.auth == "public" && opened.state == "published" && opened.override?.auth == "public")
        #expect(fixture.documents.last?.routes.first?.isPublic == true)
        #expect(fixture.savedOverrides?.count == 1 && fixture.ended.isEmpty)
        let closed = try await change("3000", to: PortChange(auth: .basic))
        #expect(closed.auth == "basic" && fixture.ended == [["p3000"], ["p3000"]])
        #expect(
            fixture.events.map(\.type) == ["port.published", "port.access-changed", "port.access-changed"])
        _ = try await change("3000", to: PortChange(isReset: true))
        #expect(fixture.savedOverrides?.isEmpty == true)
    }

    @Test func `who closes a port is answered when those who came late are put out, too`() async throws {
        await state.portsChanged([listener(3000)])
        try await apply()
        _ = try await change("3000", to: PortChange(auth: .public))
        fixture.pauses.hold()
        let isAnswered = Mutex(false)
        async let closed = {
            let report = try await change("3000", to: PortChange(auth: .basic))
            isAnswered.withLock { $0 = true }
            return report
        }()
        await fixture.roundsEnded(1)
        // Whatever waits in the state's queue before this comes first.
        #expect(await state.portList().ports.map(\.auth) == ["basic"])
        #expect(!isAnswered.withLock { $0 })
        await fixture.pauses.endOne()
        #expect(try await closed.auth == "basic" && fixture.ended.count == 2)
        await fixture.pauses.endOne()
    }

    @Test func `what is published again keeps the connections that it has by then`() async throws {
        await state.portsChanged([listener(3000), listener(3001)])
        try await apply()
        fixture.pauses.hold()
        await state.portsChanged([])
        try await apply()
        await fixture.pauses.endOne()
        await fixture.roundsEnded(2)
        await state.portsChanged([listener(3000)])
        try await apply()
        await fixture.pauses.endOne()
        await fixture.roundsEnded(3)
        #expect(fixture.ended == [["p3000", "p3001"], ["p3000", "p3001"], ["p3001"]])
    }

    @Test func `another user's listener forgets what was set for the number`() async throws {
        await state.portsChanged([listener(3000)])
        try await apply()
        _ = try await change("3000", to: PortChange(auth: .public))
        await state.portsChanged([listener(3000, uid: 1001)])
        #expect(fixture.savedOverrides?.isEmpty == true)
        try await apply()
        await fixture.roundsEnded(2)
        #expect(fixture.ended == [["p3000"], ["p3000"]], "the old owner's guests are put out")
        await state.portsChanged([listener(3000)])
        #expect(fixture.documents.last?.routes.first?.isPublic == false)
        #expect(fixture.events.contains { $0.type == "port.override-dropped" })
    }

    @Test func `what may not be is refused with its reason, and nothing is saved`() async throws {
        var configuration = Configuration()
        configuration.ports.allowPublic = false
        let fixture = StateFixture(configuration)
        await fixture.state.portsChanged([listener(3000), listener(5432)])
        func problem(_ name: String, _ change: PortChange) async -> ProblemDetails? {
            do {
                _ = try await fixture.state.change(name, to: change, isByRoot: false)
                return nil
            } catch { return error }
        }
        #expect(await problem("3000", PortChange(auth: .public))?.status == 403)
        #expect(await problem("9", PortChange(auth: .basic))?.type == "urn:samd:problem:no-such-port")
        let denied = await problem("5432", PortChange(published: true))
        #expect(denied?.status == 403 && denied?.hint?.hasPrefix("sudo samd ports set 5432") == true)
        #expect(fixture.savedOverrides == nil)
    }

    @Test func `root publishes what others may not`() async throws {
        await state.portsChanged([listener(5432)])
        let report = try await change("5432", to: PortChange(published: true), isByRoot: true)
        #expect(report.state == "published")
        let withdrawn = try await change("5432", to: PortChange(published: false))
        #expect(withdrawn.state == "refused" && withdrawn.command == "samd ports set 5432 --publish")
    }

    @Test func `a container is named by number, or by number and container`() async throws {
        await state.portsChanged([listener(3000), contained(3000, in: "web"), contained(4000, in: "web")])
        await fixture.connectRelays()
        #expect(try await change("3000-web", to: PortChange(auth: .public)).container?.name == "web")
        #expect(try await change("4000-web", to: PortChange(auth: .public)).name == "4000")
        #expect(try await change("3000", to: PortChange(auth: .public)).container == nil)
    }

    @Test func `a listener that cannot be reached inside its namespace is refused`() async throws {
        fixture.refuseRelay("7-0-127.0.0.1-4000")
        await state.portsChanged([listener(3000), contained(4000, in: "web"), contained(4001, in: "web")])
        #expect(fixture.documents.last?.routes.map(\.id) == ["p3000"], "the others do not wait for relays")
        #expect(await state.counts().pending == 3)
        await fixture.connectRelays()
        #expect(fixture.documents.last?.routes.map(\.id) == ["p3000", "p4001"])
        #expect(await state.portList().ports.map(\.reason) == [nil, "no way in", nil])
    }

    @Test func `a new password reaches Caddy and puts out who had the old one`() async throws {
        await state.portsChanged([listener(3000)])
        try await apply()
        let caddy = Task {
            while fixture.documents.last?.account.passwordHash != "h-new", !Task.isCancelled {
                await Task.yield()
            }
            if !Task.isCancelled { try await apply() }
        }
        defer { caddy.cancel() }
        #expect(try await state.renewPassword().password == "new")
        #expect(fixture.ended == [["p3000"], ["p3000"]])
    }

    @Test func `what root decided others do not widen`() async throws {
        await state.portsChanged([listener(5432), listener(3000)])
        func problem(_ name: String, _ change: PortChange) async -> Int? {
            do {
                _ = try await state.change(name, to: change, isByRoot: false)
                return nil
            } catch { return error.status }
        }
        _ = try await change("5432", to: PortChange(published: true), isByRoot: true)
        #expect(await problem("5432", PortChange(auth: .public)) == 403)
        _ = try await change("3000", to: PortChange(published: false), isByRoot: true)
        #expect(await problem("3000", PortChange(published: true)) == 403)
        #expect(await problem("3000", PortChange(isReset: true)) == 403)
        _ = try await change("5432", to: PortChange(published: false))
    }

    @Test func `a withdrawal outlives somebody else's server on the number`() async throws {
        await state.portsChanged([listener(3000)])
        try await apply()
        _ = try await change("3000", to: PortChange(auth: .public, published: false))
        await state.portsChanged([listener(3000, uid: 1001)])
        await state.portsChanged([listener(3000)])
        let port = try #require(await state.portList().ports.first)
        #expect(port.state == "refused" && port.override == .init(auth: nil, published: false))
    }
}
