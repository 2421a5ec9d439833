import CaddyConfig
import HTTPClient
import Supervision
import Synchronization
import Testing

@testable import TestSupport

/// What a real Caddy does only by chance: an admin endpoint that answers by a script.
private final class ScriptedAdmin: Sendable {
    enum Answer: Sendable {
        case ok
        /// Takes the change, then resets the connection without an answer.
        case takeAndReset
        /// Resets the connection; nothing changed.
        case reset
        /// Waits for the signal, then takes the change.
        case hold(Signal)
        case status(Int, String)
    }

    struct State {
        var server: JSONValue?
        var version = 0
        var writes: [JSONValue] = []
        var answers: [Answer]
        var reads = 0
        var sharedReads = 0
    }

    private let directory: TemporaryDirectory
    private let server: TestServer
    private let script: Script
    let client: CaddyAdminClient

    /// `answers` are given to the changes in order; after them every change is taken.
    init(_ answers: [Answer], server: JSONValue? = nil) throws {
        let script = Script(State(server: server, answers: answers))
        self.script = script
        self.directory = try TemporaryDirectory()
        let path = "\(directory.path)/admin.sock"
        self.server = try TestServer(.unix(path: path)) { connection in
            while try script.answerOne(connection) {}
        }
        self.client = CaddyAdminClient(endpoint: .unix(path: path), http: HTTPClient())
    }

    func stop() {
        server.stop()
        directory.remove()
    }

    /// What someone else does.
    func change(to server: JSONValue) {
        script.state.withLock { state in
            state.server = server
            state.version += 1
        }
    }

    var writes: [JSONValue] { script.state.withLock { $0.writes } }
    var reads: Int { script.state.withLock { $0.reads } }
    /// Of the places in which ours stands among others'.
    var sharedReads: Int { script.state.withLock { $0.sharedReads } }
}

/// What the connections' threads share.
private final class Script: Sendable {
    let state: Mutex<ScriptedAdmin.State>

    init(_ state: sending ScriptedAdmin.State) {
        self.state = Mutex(state)
    }

    func answerOne(_ connection: Connection) throws -> Bool {
        let request = try connection.readRequest()
        if request.head.hasPrefix("GET /id/") {
            try connection.respond(404)
            return true
        }
        if request.head.hasPrefix("GET "), !request.head.hasPrefix("GET /config/apps/http/servers/samd ") {
            state.withLock { $0.sharedReads += 1 }
            try connection.respond(body: Array("null".utf8))
            return true
        }
        if request.head.hasPrefix("GET ") {
            let (server, version) = state.withLock { state in
                state.reads += 1
                return (state.server, state.version)
            }
            let headers = "ETag: \"/config/apps/http/servers/samd \(version)\"\r\n"
            try connection.respond(headers: headers, body: Array((server ?? .null).compact.utf8))
            return true
        }
        let value = try JSONValue(parsing: request.body)
        let answer = state.withLock { state in
            state.writes.append(value)
            return state.answers.isEmpty ? ScriptedAdmin.Answer.ok : state.answers.removeFirst()
        }
        switch answer {
        case .ok: take(value)
        case .hold(let signal):
            ThreadGate(signal).wait()
            take(value)
        case .takeAndReset:
            take(value)
            connection.reset()
            return false
        case .reset:
            connection.reset()
            return false
        case .status(let status, let text):
            try connection.respond(status, body: Array(#"{"error":"\#(text)"}"#.utf8))
            return true
        }
        try connection.respond()
        return true
    }

    private func take(_ value: JSONValue) {
        state.withLock { state in
            state.server = value
            state.version += 1
        }
    }
}

private func document(_ count: Int) -> CaddyDocument {
    CaddyDocument(
        listen: ["127.0.0.1:8080"], account: WebAccount(user: "dev", passwordHash: "$2b$"),
        routes: (0..<count).map { number in
            Route(
                id: "p\(number)", hosts: ["\(number).test"], upstream: "127.0.0.1:1",
                upstreamHost: "localhost:1")
        })
}

private func rendered(_ count: Int) -> JSONValue {
    CaddyRenderer(features: CaddyFeatures()).render(document(count))
}

@Suite("When a change goes wrong", .timeLimit(.minutes(1)))
struct FaultTests {
    @Test("After a conflict the configuration is read again and written")
    func conflict() async throws {
        let admin = try ScriptedAdmin([
            .status(412, "If-Match"), .status(409, "[x] key already exists: samd"),
        ])
        defer { admin.stop() }
        try await withReconciler(admin.client) { running in
            running.reconciler.submit(document(1))
            try await running.expectChange()
        }
        #expect(admin.writes.count == 3)
        #expect(admin.reads == 3)
    }

    @Test("A change that came through although the connection broke is not made twice")
    func takenButReset() async throws {
        let admin = try ScriptedAdmin([.takeAndReset], server: rendered(0))
        defer { admin.stop() }
        try await withReconciler(admin.client) { running in
            running.reconciler.submit(document(1))
            try await running.expectChange()
        }
        #expect(admin.writes == [rendered(1)])
        #expect(admin.reads == 2)
    }

    @Test("A change that was lost with the connection is made again")
    func reset() async throws {
        let admin = try ScriptedAdmin([.reset, .reset], server: rendered(0))
        defer { admin.stop() }
        try await withReconciler(admin.client) { running in
            running.reconciler.submit(document(1))
            try await running.expectChange()
        }
        #expect(admin.writes.count == 3)
    }

    @Test("Endless conflicts end in an error that names them")
    func endlessConflict() async throws {
        let admin = try ScriptedAdmin(
            Array(repeating: .status(412, "If-Match"), count: 100), server: rendered(0))
        defer { admin.stop() }
        try await withReconciler(admin.client) { running in
            running.reconciler.submit(document(1))
            let error = try await running.nextError()
            #expect(error.kind == .refused)
            #expect(try #require(error.hint).contains("something else keeps writing"))
        }
        #expect(admin.writes.count == 5)
    }

    @Test("What comes during a change is coalesced: only the newest follows")
    func coalesced() async throws {
        let proceed = Signal()
        let admin = try ScriptedAdmin([.hold(proceed)], server: rendered(0))
        defer { admin.stop() }
        try await withReconciler(admin.client) { running in
            running.reconciler.submit(document(1))
            try await waitUntil("the change is under way") { admin.writes.count == 1 }
            for count in 2...50 { running.reconciler.submit(document(count)) }
            proceed.fire()
            let last = await running.next {
                if case .applied(let document, _, _) = $0 { document.routes.count == 50 } else { false }
            }
            #expect(last != nil)
        }
        #expect(admin.writes == [rendered(1), rendered(50)])
    }

    @Test(
        "A version that does not know stream_close_delay gets a configuration without it, and is asked once")
    func fallback() async throws {
        let unknown = #"loading: json: unknown field \"stream_close_delay\""#
        let admin = try ScriptedAdmin([.status(500, unknown)], server: rendered(0))
        defer { admin.stop() }
        try await withReconciler(admin.client) { running in
            running.reconciler.submit(document(1))
            try await running.expectChange()
            running.reconciler.submit(document(2))
            try await running.expectChange()
        }
        #expect(admin.writes.map { $0.compact.contains("stream_close_delay") } == [true, false, false])
    }

    @Test("A refusal is retried slowly and told once")
    func slowRetry() async throws {
        let admin = try ScriptedAdmin(Array(repeating: .status(500, "no"), count: 3), server: rendered(0))
        defer { admin.stop() }
        let began = SuspendingClock.now
        try await withReconciler(admin.client, settings: brisk) { running in
            running.reconciler.submit(document(1))
            let error = try await running.nextError()
            #expect(error.detail == "Caddy answered 500: no")
            // The retries after 100, 200 and 400 ms (less a fifth of jitter) say nothing until one succeeds.
            try await running.expectChange()
        }
        #expect(began.duration(to: .now) > .milliseconds(560))
        #expect(admin.writes.count == 4)
    }

    @Test("Shared places are looked at first, at intervals, and when someone else changed the server")
    func sharedPlaces() async throws {
        let admin = try ScriptedAdmin([], server: rendered(0))
        defer { admin.stop() }
        var settings = brisk
        settings.sharedInterval = .seconds(600)
        try await withReconciler(admin.client, settings: settings) { running in
            running.reconciler.submit(document(1))
            try await running.expectChange()
            #expect(admin.sharedReads == 3)
            for count in 2..<6 {
                running.reconciler.submit(document(count))
                try await running.expectChange()
            }
            let reads = admin.reads
            try await waitUntil("it was looked at again") { admin.reads > reads + 3 }
            #expect(admin.sharedReads == 3)
            admin.change(to: rendered(2))
            #expect(await running.next { $0.isRepaired } != nil)
            #expect(admin.sharedReads == 6)
        }
        settings.sharedInterval = .milliseconds(50)
        try await withReconciler(admin.client, settings: settings) { running in
            running.reconciler.submit(document(5))
            _ = try await running.next()
            try await waitUntil("they are looked at again") { admin.sharedReads >= 12 }
        }
        #expect(admin.writes.count == 6)
    }

    @Test("The first document is written at once, however long the interval")
    func leadingEdge() async throws {
        let admin = try ScriptedAdmin([], server: rendered(0))
        defer { admin.stop() }
        var settings = quiet
        settings.writeInterval = .seconds(600)
        try await withReconciler(admin.client, settings: settings) { running in
            // Nothing to write: does not count.
            running.reconciler.submit(document(0))
            _ = try await running.next()
            running.reconciler.submit(document(1))
            try await running.expectChange()
            running.reconciler.submit(document(2))
        }
        #expect(admin.writes == [rendered(1)])
    }

    @Test("A flood of documents is written once per interval, and the newest wins")
    func writeInterval() async throws {
        let admin = try ScriptedAdmin([], server: rendered(0))
        defer { admin.stop() }
        var settings = quiet
        settings.writeInterval = .milliseconds(100)
        let began = SuspendingClock.now
        try await withReconciler(admin.client, settings: settings) { running in
            for count in 1...100 {
                running.reconciler.submit(document(count % 20 + 1))
                try await Task.sleep(for: .milliseconds(3))
            }
            running.reconciler.submit(document(30))
            let last = await running.next {
                if case .applied(let document, true, _) = $0 { document.routes.count == 30 } else { false }
            }
            #expect(last != nil)
        }
        let intervals = Int(began.duration(to: .now) / .milliseconds(100))
        #expect((2...intervals + 1).contains(admin.writes.count))
        #expect(admin.writes.last == rendered(30))
    }

    @Test("The service stamps progress while it waits for a slow Caddy")
    func progress() async throws {
        let proceed = Signal()
        let admin = try ScriptedAdmin([.hold(proceed)], server: rendered(0))
        defer { admin.stop() }
        try await withReconciler(admin.client) { running in
            running.reconciler.submit(document(1))
            try await waitUntil("the change is under way") { admin.writes.count == 1 }
            let monitor = running.monitor
            var before = monitor.snapshot().sinceProgress
            try await waitUntil("a stamp comes") {
                defer { before = monitor.snapshot().sinceProgress }
                return monitor.snapshot().sinceProgress < before
            }
            proceed.fire()
            try await running.expectChange()
        }
    }

    @Test("A TCP endpoint is asked under its own name, past any proxy")
    func overTCP() async throws {
        let server = try TestServer { connection in
            while true {
                let host = try connection.readRequest().head.split(separator: "\r\n").first {
                    $0.hasPrefix("Host:")
                }
                try connection.respond(body: Array("\"\(host ?? "none")\"".utf8))
            }
        }
        defer { server.stop() }
        let endpoint = CaddyAdminEndpoint.tcp(host: "127.0.0.1", port: server.port)
        let client = CaddyAdminClient(endpoint: endpoint, http: HTTPClient())
        #expect(try await client.readServer(key: "samd")?.value == .string("Host: \(endpoint)"))
    }

    @Test("What is no Caddy is refused with a hint")
    func notCaddy() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let server = try TestServer(.unix(path: directory.path + "/s")) { connection in
            while true {
                _ = try connection.readRequest()
                try connection.respond(body: Array("<html>".utf8))
            }
        }
        defer { server.stop() }
        let client = CaddyAdminClient(endpoint: .unix(path: directory.path + "/s"), http: HTTPClient())
        let error = try await #require(throws: CaddyError.self) { try await client.readServer(key: "samd") }
        #expect(error.kind == .refused)
        #expect(error.detail.contains("not JSON"))
        #expect(error.hint != nil)
    }
}
