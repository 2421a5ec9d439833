import CaddyConfig
import Glibc
import HTTPClient
import Supervision
import Synchronization
import Testing

@testable import TestSupport

private let credentials = Result { try WebCredentials.generate(user: "dev") }

/// A route to the upstream of `startUpstream`, whether it runs or not.
private func echoRoute(_ caddy: TestCaddy, _ number: Int = 3000, isPublic: Bool = false) -> Route {
    Route(
        id: "p\(number)", hosts: ["\(number)--vm.localhost"], upstream: "unix/\(caddy.upstreamSocket)",
        upstreamHost: "localhost:\(number)", isPublic: isPublic)
}

@Suite(
    "With a real Caddy", .enabled(if: CaddyVersion.areAvailable, CaddyVersion.hint), .timeLimit(.minutes(3)),
    .serialized)
struct CaddyTests {
    @Test(
        "Routes are published with a password, and what is unchanged is not written",
        arguments: CaddyVersion.allCases)
    func publish(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.foreignConfiguration)
        let upstream = try caddy.startUpstream()
        defer { upstream.stop() }
        let document = caddy.document(
            [
                echoRoute(caddy), echoRoute(caddy, 8000, isPublic: true),
                Route(
                    id: "p1", hosts: ["1--vm.localhost"], upstream: "127.0.0.1:1", upstreamHost: "localhost:1"
                ),
            ], account: credentials.account)
        try await withReconciler(caddy.client) { running in
            running.reconciler.submit(document)
            await running.reconciler.firstAttempt()
            let first = try await running.next()
            #expect(first.wasChanged)
            #expect(running.monitor.snapshot().health == .ok(detail: "3 routes"))

            let known = try await caddy.visit("3000--vm.localhost:8080", credentials: credentials)
            #expect(known.status == 200)
            let seen = String(decoding: known.body, as: UTF8.self)
            #expect(seen.contains("Host: localhost:3000\r\n"))
            // Our own password does not reach the upstream.
            #expect(!seen.contains("Authorization"))
            let stranger = try await caddy.visit("3000--vm.localhost")
            #expect(stranger.status == 401)
            #expect(stranger.headers["www-authenticate"] == "Basic realm=\"samd\"")
            let wrong = WebCredentials(user: "dev", password: "wrong", passwordHash: "")
            #expect(try await caddy.visit("3000--vm.localhost", credentials: wrong).status == 401)
            let other = WebCredentials(user: "root", password: credentials.password, passwordHash: "")
            #expect(try await caddy.visit("3000--vm.localhost", credentials: other).status == 401)
            let open = try await caddy.visit("8000--vm.localhost", authorization: "Bearer theirs")
            #expect(
                String(decoding: open.body, as: UTF8.self).contains("\r\nAuthorization: Bearer theirs\r\n"))
            let unknown = try await caddy.visit("9999--vm.localhost", credentials: credentials)
            #expect(unknown.status == 404)
            #expect(!String(decoding: unknown.body, as: UTF8.self).contains("3000"))
            let down = try await caddy.visit("1--vm.localhost", credentials: credentials)
            #expect(down.status == 502)
            #expect(down.headers["refresh"] == "2")
            #expect(try await caddy.visit("1--vm.localhost").status == 401)

            running.reconciler.submit(document)
            let second = try await running.next()
            #expect(second.isApplied && !second.wasChanged)
        }
        let written = try await caddy.client.readServer(key: "samd")?.value.compact ?? ""
        #expect(written.contains("stream_close_delay") == (version == .current))
        try await caddy.stop()
    }

    @Test("A Caddy without any configuration gets our server", arguments: CaddyVersion.allCases)
    func nothingThere(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(version == .current ? nil : caddy.bareConfiguration)
        try await withReconciler(caddy.client) { running in
            running.reconciler.submit(caddy.document([], account: credentials.account))
            try await running.expectChange()
        }
        #expect(try await caddy.visit("anything").status == 404)
        try await caddy.stop()
    }

    @Test("What belongs to others stays byte for byte", arguments: CaddyVersion.allCases)
    func foreign(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.foreignConfiguration)
        let places = ["/config/admin", "/config/logging", "/config/apps/http/servers/foreign", "/id/theirs"]
        func theirs() async throws -> [[UInt8]] {
            var all: [[UInt8]] = []
            for place in places { all.append(try await caddy.admin("GET", place).body) }
            return all
        }
        let before = try await theirs()
        try await withReconciler(caddy.client) { running in
            for count in 0..<8 {
                let routes = (0..<count).map { echoRoute(caddy, 3000 + $0) }
                running.reconciler.submit(caddy.document(routes, account: credentials.account))
                try await running.expectChange()
            }
        }
        #expect(try await theirs() == before)
        let whole = try JSONValue(parsing: try await caddy.admin("GET", "/config/apps/http").body)
        #expect(whole["grace_period"] == "1s")
        try await caddy.stop()
    }

    @Test("What someone else's /load wiped is put back, and said", arguments: CaddyVersion.allCases)
    func repair(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.foreignConfiguration)
        let upstream = try caddy.startUpstream()
        defer { upstream.stop() }
        try await withReconciler(caddy.client, settings: brisk) { running in
            running.reconciler.submit(caddy.document([echoRoute(caddy)], account: credentials.account))
            try await running.expectChange()
            for wiped in [caddy.bareConfiguration, caddy.foreignConfiguration] {
                // The endpoint may restart under our feet.
                try await waitUntil("the load is accepted") {
                    (try? await caddy.admin("POST", "/load", wiped).status) == 200
                }
                let outcome = await running.next { $0.isRepaired }
                #expect(outcome != nil)
            }
            #expect(try await caddy.visit("3000--vm.localhost", credentials: credentials).status == 200)
        }
        try await caddy.stop()
    }

    @Test("Changes to our own server are undone", arguments: CaddyVersion.allCases)
    func tampered(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        try await withReconciler(caddy.client, settings: brisk) { running in
            running.reconciler.submit(caddy.document([], account: credentials.account))
            try await running.expectChange()
            try await waitUntil("the change is accepted") {
                (try? await caddy.admin("PATCH", "/config/apps/http/servers/samd/routes", []).status) == 200
            }
            #expect(await running.next { $0.isRepaired } != nil)
        }
        try await caddy.stop()
    }

    @Test("A stale ETag is a conflict", arguments: CaddyVersion.allCases)
    func etag(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let renderer = CaddyRenderer(features: CaddyFeatures(streamCloseDelay: false))
        let client = caddy.client
        let empty = renderer.render(caddy.document([], account: credentials.account))
        let one = renderer.render(caddy.document([echoRoute(caddy)], account: credentials.account))
        try await client.createServer(key: "samd", empty)
        let found = try await client.readServer(key: "samd")
        let seen = try #require(found)
        #expect(seen.value == empty)
        #expect(seen.etag != nil)
        #expect(seen.path == "/config/apps/http/servers/samd")
        try await client.replaceServer(key: "samd", one, etag: seen.etag)
        for change in 0..<2 {
            let error = await #expect(throws: CaddyError.self) {
                if change == 0 { try await client.replaceServer(key: "samd", empty, etag: seen.etag) }
                if change == 1 { try await client.createServer(key: "samd", empty) }
            }
            #expect(error?.kind == .conflict)
        }
        #expect(try await client.readServer(key: "samd")?.value == one)
        try await caddy.stop()
    }

    @Test(
        "A refused configuration is shown in Caddy's words, and a better one applies at once",
        arguments: CaddyVersion.allCases)
    func refused(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.foreignConfiguration)
        let account = credentials.account
        try await withReconciler(caddy.client) { running in
            let taken = CaddyDocument(listen: ["unix/\(caddy.foreignSocket)"], account: account, routes: [])
            running.reconciler.submit(taken)
            let error = try await running.nextError()
            #expect(error.kind == .refused)
            #expect(error.detail.contains("listener address repeated"))
            guard case .degraded(let reason, let hint) = running.monitor.snapshot().health else {
                Issue.record("not degraded")
                return
            }
            #expect(reason.contains(caddy.foreignSocket))
            #expect(try #require(hint).contains("`listen`"))
            running.reconciler.submit(caddy.document([], account: account))
            try await running.expectChange()
            #expect(running.monitor.snapshot().health == .ok(detail: "0 routes"))
        }
        try await caddy.stop()
    }

    @Test("Our key or id in someone else's hands is not touched", arguments: CaddyVersion.allCases)
    func clash(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let theirs: JSONValue = ["listen": [.string("unix/\(caddy.foreignSocket)")]]
        let stolenID: JSONValue = [
            "@id": "samd_server", "listen": [.string("unix/\(caddy.foreignSocket)")],
        ]
        for (key, server, words) in [
            ("samd", theirs, "not ours"), ("other", stolenID, "/config/apps/http/servers/other"),
        ] {
            #expect(try await caddy.admin("PUT", "/config/apps/http/servers/\(key)", server).status == 200)
            try await withReconciler(caddy.client) { running in
                running.reconciler.submit(caddy.document([], account: credentials.account))
                let error = try await running.nextError()
                #expect(error.kind == .foreign)
                #expect(error.detail.contains(words))
                #expect(error.hint != nil)
            }
            let now = try await caddy.admin("GET", "/config/apps/http/servers/\(key)").body
            #expect(try JSONValue(parsing: now) == server)
            #expect(try await caddy.admin("DELETE", "/config/apps/http/servers/\(key)").status == 200)
        }
        try await caddy.stop()
    }

    @Test(
        "Without Caddy the service says so; when it comes, goes and comes, its socket tells",
        arguments: CaddyVersion.allCases)
    func restarts(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        // No retry within the test: only the socket's appearance can bring it on. That Caddy is gone shows at the
        // next look at the latest, for it does not always remove its socket.
        var settings = quiet
        settings.verifyInterval = .milliseconds(100)
        try await withReconciler(caddy.client, settings: settings) { running in
            running.reconciler.submit(caddy.document([], account: credentials.account))
            await running.reconciler.firstAttempt()
            let error = try await running.nextError()
            #expect(error.kind == .unreachable)
            #expect(error.detail.contains("No such file or directory"))
            #expect(try #require(error.hint).contains("endpoint on \(caddy.adminSocket)"))
            #expect(running.monitor.snapshot().health.isDegraded)

            try await caddy.start(caddy.bareConfiguration)
            #expect(await running.next { $0.isApplied } != nil)
            #expect(!running.monitor.snapshot().health.isDegraded)

            try await caddy.stop()
            #expect(await running.next { $0.isUnreachable } != nil)
            try await caddy.start(caddy.bareConfiguration)
            #expect(await running.next { $0.isRepaired } != nil)

            // systemd removes RuntimeDirectory= with the service and makes it anew.
            try await caddy.stop()
            #expect(await running.next { $0.isUnreachable } != nil)
            unlink(caddy.adminSocket)
            _ = try check(rmdir(caddy.runtimeDirectory))
            _ = try check(mkdir(caddy.runtimeDirectory, 0o700))
            try await caddy.start(caddy.bareConfiguration)
            #expect(await running.next { $0.isRepaired } != nil)
        }
        try await caddy.stop()
    }

    @Test("Unknown users cost Caddy no password hash", arguments: CaddyVersion.allCases)
    func strangers(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let document = caddy.document([echoRoute(caddy)], account: credentials.account)
        try await withReconciler(caddy.client) { running in
            running.reconciler.submit(document)
            _ = try await running.next()
            let before = try caddy.cpuTime()
            for user in ["someone", "dev9", "dev8z", "devx", ""] {
                let stranger = WebCredentials(user: user, password: "x", passwordHash: "")
                #expect(try await caddy.visit("3000--vm.localhost", credentials: stranger).status == 401)
            }
            // Each of the five hashes, at bcrypt cost 14, would take half a second of CPU on the fastest machine.
            #expect(try caddy.cpuTime() - before < .seconds(1))
        }
        try await caddy.stop()
    }

    @Test("Of many documents in a row the newest wins", arguments: CaddyVersion.allCases)
    func flood(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        try await withReconciler(caddy.client, settings: brisk) { running in
            for count in 1...100 {
                let routes = (1...count).map { echoRoute(caddy, 3000 + $0) }
                running.reconciler.submit(caddy.document(routes, account: credentials.account))
                if count % 10 == 0 { await Task.yield() }
            }
            let last = await running.next { outcome in
                if case .applied(let document, _, _) = outcome { document.routes.count == 100 } else { false }
            }
            #expect(last != nil)
        }
        let found = try await caddy.client.readServer(key: "samd")
        let server = try #require(found)
        guard case .array(let routes) = server.value["routes"] else {
            throw TestCaddy.Failure(reason: "no routes")
        }
        #expect(routes.count == 102)
        try await caddy.stop()
    }
}
