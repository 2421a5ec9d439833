import Glibc
import HTTPClient
import Supervision
import Synchronization
import Testing

@testable import CaddyConfig
@testable import TestSupport

private let credentials = Result { try WebCredentials.generate(user: "dev") }

extension TestCaddy {
    /// A route to the upstream of `startUpstream`, whether it runs or not.
    func route(_ number: Int = 3000, isPublic: Bool = false) -> Route {
        Route(
            id: "p\(number)", hosts: ["\(number)--vm.localhost"], upstream: "unix/\(upstreamSocket)",
            upstreamHost: "localhost:\(number)", isPublic: isPublic)
    }

    func document(
        _ routes: [Route], credentials: WebCredentials, tls: CaddyTLS = .off, withAccessLog: Bool = false,
        trustedProxies: [String] = []
    ) -> CaddyDocument {
        CaddyDocument(
            listen: ["unix/\(webSocket)"], account: credentials.account, routes: routes, tls: tls,
            accessLog: withAccessLog ? accessLogSocket : nil, trustedProxies: trustedProxies)
    }
}

@Suite(
    "The access log of a real Caddy", .enabled(if: CaddyVersion.areAvailable, CaddyVersion.hint),
    .timeLimit(.minutes(2)), .serialized)
struct AccessLogTests {
    @Test(
        "Every request makes an entry, and none a line in Caddy's own log", arguments: CaddyVersion.allCases)
    func entries(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let upstream = try caddy.startUpstream()
        defer { upstream.stop() }
        let down = Route(
            id: "p1", hosts: ["1--vm.localhost"], upstream: "127.0.0.1:1", upstreamHost: "localhost:1",
            isPublic: true)
        try await withAccessLog(.path(caddy.accessLogSocket)) { log in
            try await withReconciler(caddy.client) { running in
                running.reconciler.submit(
                    caddy.document([caddy.route(), down], credentials: credentials, withAccessLog: true))
                try await running.expectChange()
                #expect(running.reconciler.extras() == CaddyExtras())
                // The log and the server; an old Caddy refuses each once for a field that it does not know.
                #expect(try caddy.writeCount() == (version == .current ? 2 : 4))
                func visit(_ host: String, _ credentials: WebCredentials? = nil) async throws
                    -> AccessLogEntry
                {
                    let before = try await caddy.visit(host, credentials: credentials)
                    let entries = try await log.next()
                    #expect(entries.count == 1)
                    let entry = try #require(entries.first)
                    #expect(entry.status == before.status)
                    #expect(entry.bytesWritten == UInt64(before.body.count))
                    #expect(entry.method == "GET")
                    #expect(entry.time > 1_500_000_000)
                    #expect(!entry.isUpgrade)
                    return entry
                }
                let known = try await visit("3000--VM.localhost:8080", credentials)
                #expect(known.status == 200)
                #expect(known.host == "3000--vm.localhost")
                #expect(known.user == "dev")
                #expect(known.duration > 0)
                let stranger = try await visit("3000--vm.localhost")
                #expect(stranger.status == 401)
                #expect(stranger.user == nil)
                let wrong = WebCredentials(user: "dev", password: "wrong", passwordHash: "")
                #expect(try await visit("3000--vm.localhost", wrong).user == nil)
                #expect(try await visit("9999--vm.localhost").status == 404)
                let silent = try await visit("1--vm.localhost")
                #expect(silent.status == 502)
                #expect(silent.user == nil)
            }
            #expect(log.service.statistics().malformed == 0)
        }
        #expect(try !caddy.output().contains("http.log.access.samd\","))
        try await caddy.stop()
    }

    @Test(
        "A websocket's entry comes at its end, a person's click is told", arguments: CaddyVersion.allCases)
    func websocket(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let upstream = try startWebsocketUpstream(caddy)
        defer { upstream.stop() }
        try await withAccessLog(.path(caddy.accessLogSocket)) { log in
            try await withReconciler(caddy.client) { running in
                running.reconciler.submit(
                    caddy.document([caddy.route()], credentials: credentials, withAccessLog: true))
                try await running.expectChange()
                let visitor = try openWebsocket(caddy, credentials, headers: "Sec-Fetch-User: ?1\r\n")
                try visitor.expectEcho("ping")
                #expect(log.service.statistics().lines == 0)
                close(visitor.socket)
                let entry = try #require(try await log.next().first)
                #expect(entry.isUpgrade)
                #expect(entry.secFetchUser)
                #expect(entry.status == (version == .current ? 101 : 0))
                #expect(entry.user == "dev")
            }
        }
        try await caddy.stop()
    }

    @Test(
        "Without its socket the routes are served all the same, and the log comes with the socket",
        arguments: CaddyVersion.allCases)
    func missingSocket(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let upstream = try caddy.startUpstream()
        defer { upstream.stop() }
        let document = caddy.document([caddy.route()], credentials: credentials, withAccessLog: true)
        try await withReconciler(caddy.client, settings: brisk) { running in
            running.reconciler.submit(document)
            try await running.expectChange()
            #expect(running.reconciler.extras().accessLog?.contains(caddy.accessLogSocket) == true)
            #expect(try await caddy.visit("3000--vm.localhost", credentials: credentials).status == 200)
            #expect(try await caddy.configuration("logging") == nil)
            try await withAccessLog(.path(caddy.accessLogSocket)) { log in
                #expect(await running.next { $0.wasChanged } != nil)
                #expect(running.reconciler.extras().accessLog == nil)
                _ = try await caddy.visit("3000--vm.localhost")
                #expect(try await log.next().map(\.status) == [401])
            }
            // The reader is gone; that must not be noticed by visitors, nor by the next change.
            #expect(try await caddy.visit("3000--vm.localhost", credentials: credentials).status == 200)
            running.reconciler.submit(
                caddy.document(
                    [caddy.route(), caddy.route(4000)], credentials: credentials, withAccessLog: true))
            #expect(await running.next { $0.wasChanged } != nil)
            #expect(try await caddy.visit("4000--vm.localhost", credentials: credentials).status == 200)
        }
        try await caddy.stop()
    }

    @Test(
        "A socket on which nobody listens is refused by an old Caddy only, and holds nothing up",
        arguments: CaddyVersion.allCases)
    func deadSocket(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let dead = try check(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0))
        var address = try #require(UnixSocketAddress(caddy.accessLogSocket))
        _ = try check(address.withPointer { bind(dead, __CONST_SOCKADDR_ARG(__sockaddr__: $0), $1) })
        close(dead)
        let upstream = try startWebsocketUpstream(caddy)
        defer { upstream.stop() }
        try await withReconciler(caddy.client, settings: brisk) { running in
            let document = caddy.document([caddy.route()], credentials: credentials, withAccessLog: true)
            running.reconciler.submit(document)
            try await running.expectChange()
            #expect(try await caddy.visit("any").status == 404)
            let visitor = try openWebsocket(caddy, credentials)
            defer { close(visitor.socket) }
            let reason = running.reconciler.extras().accessLog
            #expect((reason != nil) == (version == .debian))
            if version == .debian {
                #expect(reason?.contains("connection refused") == true)
                #expect(try await caddy.configuration("logging") == nil)
                // What Caddy refuses closes no connection.
                let before = try caddy.writeCount()
                try await waitUntil("it was tried again") { try caddy.writeCount() >= before + 2 }
                try visitor.expectEcho("still open")
                try await withAccessLog(.path(caddy.accessLogSocket)) { _ in
                    #expect(await running.next { $0.wasChanged } != nil)
                    #expect(running.reconciler.extras().accessLog == nil)
                }
            }
        }
        try await caddy.stop()
    }

    @Test("The log is removed without a trace when it is not wanted", arguments: CaddyVersion.allCases)
    func removed(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.foreignConfiguration)
        let theirs = try await caddy.configuration("logging")
        try await withAccessLog(.path(caddy.accessLogSocket)) { _ in
            try await withReconciler(caddy.client) { running in
                running.reconciler.submit(caddy.document([], credentials: credentials, withAccessLog: true))
                try await running.expectChange()
                let ours = try await caddy.configuration("logging")
                #expect(ours?["logs"]?["default"] == ["level": "WARN", "exclude": ["http.log.access.samd"]])
                #expect(ours?["logs"]?["samd"] != nil)
                running.reconciler.submit(caddy.document([], credentials: credentials))
                try await running.expectChange()
            }
        }
        #expect(try await caddy.configuration("logging") == theirs)
        #expect(try await caddy.configuration("apps/http/servers/samd")?["logs"] == nil)
        try await caddy.stop()
    }

    @Test(
        "A log of someone else under our name stays, and the routes are served",
        arguments: CaddyVersion.allCases)
    func foreignLog(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        var configuration = caddy.bareConfiguration
        let theirs: JSONValue = ["logs": ["samd": ["level": "ERROR"]]]
        if case .object(var members) = configuration {
            members["logging"] = theirs
            configuration = .object(members)
        }
        try await caddy.start(configuration)
        try await withAccessLog(.path(caddy.accessLogSocket)) { _ in
            try await withReconciler(caddy.client) { running in
                running.reconciler.submit(caddy.document([], credentials: credentials, withAccessLog: true))
                try await running.expectChange()
                #expect(running.reconciler.extras().accessLog?.contains("not ours") == true)
            }
        }
        #expect(try await caddy.configuration("logging") == theirs)
        try await caddy.stop()
    }
}

/// An upstream that takes websockets and sends back what it gets.
func startWebsocketUpstream(_ caddy: TestCaddy) throws -> TestServer {
    try TestServer(.unix(path: caddy.upstreamSocket)) { connection in
        _ = try connection.readHead()
        try connection.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while true { try connection.write(try connection.read()) }
    }
}

/// A visitor's websocket to the route 3000.
func openWebsocket(_ caddy: TestCaddy, _ credentials: WebCredentials, headers: String = "") throws
    -> Connection
{
    let visitor = try Connection(connectingTo: caddy.webSocket)
    try visitor.write(
        "GET / HTTP/1.1\r\nHost: 3000--vm.localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            + "Authorization: \(basicAuthorization(credentials))\r\n\(headers)\r\n")
    let head = try visitor.readHead().head
    #expect(head.hasPrefix("HTTP/1.1 101 "))
    return visitor
}
