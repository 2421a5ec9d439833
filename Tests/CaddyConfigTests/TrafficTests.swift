import Glibc
import HTTPClient
import Supervision
import Synchronization
import Testing

@testable import CaddyConfig
@testable import TestSupport

private let credentials = Result { try WebCredentials.generate(user: "dev") }

@Suite(
    "Traffic through a real Caddy", .enabled(if: CaddyVersion.areAvailable, CaddyVersion.hint),
    .timeLimit(.minutes(2)), .serialized)
struct TrafficTests {
    @Test("X-Forwarded-* are believed of a declared proxy alone", arguments: CaddyVersion.allCases)
    func forwarded(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let upstream = try caddy.startUpstream()
        defer { upstream.stop() }
        // Caddy knows an address of the visitor only over TCP. Two in a row: nobody else may get the port.
        let port = try freePort()
        let listen = "127.0.0.1:\(port)"
        try await withReconciler(caddy.client) { running in
            for (proxies, isBelieved) in [
                ([], false), (["10.0.0.0/8", "::1/128"], false), (["10.0.0.0/8", "127.0.0.0/8"], true),
            ] {
                running.reconciler.submit(
                    CaddyDocument(
                        listen: [listen], account: credentials.account, routes: [caddy.route(isPublic: true)],
                        trustedProxies: proxies))
                try await running.expectChange()
                var request = HTTPRequest(
                    method: "GET", url: "http://\(listen)/",
                    headers: [
                        ("Host", "3000--vm.localhost"), ("X-Forwarded-For", "203.0.113.7"),
                        ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "outside.example.com"),
                    ])
                request.options.freshConnection = true
                request.options.environmentProxy = false
                let answer = try await HTTPClient().send(request)
                let seen = String(decoding: answer.body, as: UTF8.self).split(separator: "\r\n").sorted()
                    .filter { $0.hasPrefix("X-Forwarded") }
                #expect(
                    seen
                        == (isBelieved
                            ? [
                                "X-Forwarded-For: 203.0.113.7, 127.0.0.1",
                                "X-Forwarded-Host: outside.example.com", "X-Forwarded-Proto: https",
                            ]
                            : [
                                "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: 3000--vm.localhost",
                                "X-Forwarded-Proto: http",
                            ]))
            }
        }
        try await caddy.stop()
    }

    @Test(
        "A relay's unix socket carries requests, websockets and event streams",
        arguments: CaddyVersion.allCases)
    func relay(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let upstream = try startStreamingUpstream(caddy)
        defer { upstream.stop() }
        try await withReconciler(caddy.client) { running in
            running.reconciler.submit(caddy.document([caddy.route()], credentials: credentials))
            try await running.expectChange()
            let visitor = try openWebsocket(caddy, credentials)
            defer { close(visitor.socket) }
            try visitor.expectEcho("through the relay")
            var events = try EventStream(caddy, credentials)
            defer { close(events.connection.socket) }
            try events.readUntil(3)
        }
        try await caddy.stop()
    }

    @Test("A hundred changes close no websocket and no event stream")
    func survival() async throws {
        let (caddy, credentials) = (try TestCaddy(.current), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let upstream = try startStreamingUpstream(caddy)
        defer { upstream.stop() }
        let route = caddy.route()
        try await withAccessLog(.path(caddy.accessLogSocket)) { _ in
            try await withReconciler(caddy.client) { running in
                func submit(_ number: Int) {
                    running.reconciler.submit(
                        caddy.document(
                            [route, caddy.route(4000 + number)], credentials: credentials, withAccessLog: true
                        ))
                }
                submit(0)
                try await running.expectChange()
                let visitors = try (0..<5).map { _ in try openWebsocket(caddy, credentials) }
                var events = try EventStream(caddy, credentials)
                let open = visitors + [events.connection]
                defer { for connection in open { close(connection.socket) } }
                try events.readUntil(1)
                let writes = try caddy.writeCount()
                for change in 1...100 {
                    submit(change)
                    try await running.expectChange()
                    for visitor in visitors { try visitor.expectEcho("change \(change)") }
                }
                // One write for each.
                #expect(try caddy.writeCount() == writes + 100)
                // What arrived meanwhile, and then some.
                try events.readUntil(events.count + 50)
            }
        }
        try await caddy.stop()
    }

    @Test("The process behind the admin socket is known", arguments: CaddyVersion.allCases)
    func process(version: CaddyVersion) async throws {
        let caddy = try TestCaddy(version)
        #expect(caddy.client.process() == nil)
        try await caddy.start(caddy.bareConfiguration)
        let expected = try #require(caddy.processID)
        #expect(caddy.client.process() == CaddyProcess(pid: expected, uid: getuid()))
        #expect(
            CaddyAdminClient(endpoint: .tcp(host: "127.0.0.1", port: 1), http: HTTPClient()).process() == nil)
        try await caddy.stop()
    }
}

/// An upstream for websockets, which echo, and for anything else an endless stream of events 20 ms apart, each with the
/// Host that was asked for and a number.
private func startStreamingUpstream(_ caddy: TestCaddy) throws -> TestServer {
    try TestServer(.unix(path: caddy.upstreamSocket)) { connection in
        let head = try connection.readHead().head
        if head.contains("Upgrade: websocket") {
            try connection.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            while true { try connection.write(try connection.read()) }
        }
        let host = head.split(separator: "\r\n").first { $0.hasPrefix("Host: ") } ?? ""
        try connection.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in 0... {
            try connection.write("data: \(host) \(number)\n\n")
            usleep(20_000)
        }
    }
}

/// A visitor's stream of events.
private struct EventStream {
    let connection: Connection
    private(set) var count = 0
    private var rest: [UInt8] = []

    init(_ caddy: TestCaddy, _ credentials: WebCredentials) throws {
        connection = try Connection(connectingTo: caddy.webSocket)
        try connection.write(
            "GET / HTTP/1.1\r\nHost: 3000--vm.localhost\r\nAuthorization: \(basicAuthorization(credentials))"
                + "\r\n\r\n")
    }

    /// Reads until so many events have come since the beginning, each one after the other.
    mutating func readUntil(_ wanted: Int) throws {
        while count < wanted {
            rest += try connection.read()
            var lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            rest = Array(lines.removeLast())
            for line in lines where line.starts(with: "data: ".utf8) {
                #expect(String(decoding: line, as: UTF8.self) == "data: Host: localhost:3000 \(count)")
                count += 1
            }
        }
    }
}

/// A TCP port that was free a moment ago.
private func freePort() throws -> UInt16 {
    let server = try TestServer { _ in }
    defer { server.stop() }
    return server.port
}
