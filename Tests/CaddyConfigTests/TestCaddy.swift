import CaddyConfig
import Glibc
import HTTPClient
import Synchronization
import Testing

@testable import TestSupport

/// The Caddy versions that samd promises to work with, and where the tests find their binaries.
enum CaddyVersion: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case debian = "SAMD_TEST_CADDY_2_6"
    case current = "SAMD_TEST_CADDY_2_11"

    var binary: String? { getenv(rawValue).map { String(cString: $0) } }
    var testDescription: String { self == .debian ? "Caddy 2.6" : "Caddy 2.11" }

    static let areAvailable = allCases.allSatisfy { $0.binary != nil }
    static let hint: Comment =
        "needs the paths of two Caddy binaries in SAMD_TEST_CADDY_2_6 and SAMD_TEST_CADDY_2_11"
}

/// A real Caddy with everything it touches in a temporary directory: configuration, data, admin and web sockets.
final class TestCaddy: Sendable {
    struct Failure: Error {
        var reason: String
    }

    let version: CaddyVersion
    let directory: TemporaryDirectory
    private let pid = Mutex<pid_t?>(nil)
    private let http = HTTPClient()

    /// The directory of the admin socket, as systemd's RuntimeDirectory= would make it.
    var runtimeDirectory: String { "\(directory.path)/run" }
    var adminSocket: String { "\(runtimeDirectory)/admin.sock" }
    /// Where our server listens.
    var webSocket: String { "\(directory.path)/web.sock" }
    /// Where the foreign server listens, if the configuration has it.
    var foreignSocket: String { "\(directory.path)/foreign.sock" }

    /// Where `startUpstream` listens.
    var upstreamSocket: String { "\(directory.path)/upstream.sock" }

    init(_ version: CaddyVersion) throws {
        self.version = version
        self.directory = try TemporaryDirectory()
        _ = try check(mkdir(runtimeDirectory, 0o700))
    }

    deinit {
        pid.withLock { pid in
            if let pid { kill(pid, SIGKILL) }
            if let pid { waitpid(pid, nil, 0) }
        }
        directory.remove()
    }

    /// The CPU time that Caddy used since its start.
    func cpuTime() throws -> Duration {
        guard let child = pid.withLock({ $0 }) else { throw Failure(reason: "Caddy does not run") }
        var clock = clockid_t()
        var time = timespec()
        _ = try check(clock_getcpuclockid(child, &clock))
        _ = try check(clock_gettime(clock, &time))
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    /// Only the admin endpoint.
    var bareConfiguration: JSONValue { ["admin": ["listen": .string("unix/\(adminSocket)")]] }

    /// The admin endpoint and a server of someone else.
    var foreignConfiguration: JSONValue {
        let hello: JSONValue = ["handler": "static_response", "body": "theirs"]
        return [
            "admin": ["listen": .string("unix/\(adminSocket)")],
            "logging": ["logs": ["default": ["level": "WARN"]]],
            "apps": [
                "http": [
                    "grace_period": "1s",
                    "servers": [
                        "foreign": [
                            "@id": "theirs", "listen": [.string("unix/\(foreignSocket)")],
                            "automatic_https": ["disable": true], "routes": [["handle": [hello]]],
                        ]
                    ],
                ]
            ],
        ]
    }

    /// Starts Caddy and waits until its admin endpoint accepts connections. Without a configuration, the endpoint is
    /// given by CADDY_ADMIN, which only newer versions obey.
    func start(_ configuration: JSONValue?) async throws {
        let binary = try #require(version.binary)
        var arguments = [binary, "run"]
        if let configuration {
            let file = "\(directory.path)/caddy.json"
            try write(Array(configuration.compact.utf8), to: file)
            arguments += ["--config", file]
        }
        let environment = [
            "HOME=\(directory.path)", "XDG_DATA_HOME=\(directory.path)/data",
            "XDG_CONFIG_HOME=\(directory.path)/config", "CADDY_ADMIN=unix/\(adminSocket)",
        ]
        let log = "\(directory.path)/log"
        let child = try spawn(arguments, environment: environment, output: log)
        pid.withLock { $0 = child }
        try await waitUntil("Caddy's admin endpoint accepts") { canConnect(to: adminSocket) }
    }

    /// Ends Caddy as systemd would: SIGTERM, and SIGKILL when that does not help.
    func stop() async throws {
        guard let child = pid.withLock({ $0 }) else { return }
        kill(child, SIGTERM)
        do {
            try await waitUntil("Caddy ends", within: .seconds(10)) { waitpid(child, nil, WNOHANG) == child }
        } catch {
            kill(child, SIGKILL)
            try await waitUntil("Caddy is gone") { waitpid(child, nil, WNOHANG) == child }
        }
        pid.withLock { $0 = nil }
    }

    /// A raw answer of the admin endpoint, asked again when a restart of the endpoint cuts it off.
    func admin(_ method: String, _ path: String, _ body: JSONValue? = nil) async throws(HTTPClientError)
        -> HTTPResponse
    {
        let request = HTTPRequest(
            method: method, url: "http://caddy\(path)",
            headers: [("Host", ""), ("Content-Type", "application/json")],
            body: body.map { .bytes(Array($0.compact.utf8)) } ?? .none, unixSocketPath: adminSocket,
            options: HTTPRequestOptions(freshConnection: true))
        for _ in 0..<4 {
            do throws(HTTPClientError) {
                return try await http.send(request)
            } catch {
                guard error.kind == .connectionLost else { throw error }
                try? await Task.sleep(for: .milliseconds(20))
            }
        }
        return try await http.send(request)
    }

    /// A visitor's request to our server.
    func visit(_ host: String, credentials: WebCredentials? = nil, authorization: String? = nil) async throws
        -> HTTPResponse
    {
        var request = HTTPRequest(
            method: "GET", url: "http://web/", headers: [("Host", host)], unixSocketPath: webSocket)
        if let value = authorization ?? credentials.map(basicAuthorization) {
            request.headers.append((name: "Authorization", value: value))
        }
        // Caddy closes idle connections when its configuration changes.
        request.options.freshConnection = true
        return try await http.send(request)
    }

    /// An upstream that tells what it was asked, apart from Caddy: a server of the same Caddy would be away for a
    /// moment whenever the configuration changes.
    func startUpstream() throws -> TestServer {
        try TestServer(.unix(path: upstreamSocket)) { connection in
            while true { try connection.respond(body: Array(try connection.readRequest().head.utf8)) }
        }
    }

    func document(_ routes: [Route], account: WebAccount) -> CaddyDocument {
        CaddyDocument(listen: ["unix/\(webSocket)"], account: account, routes: routes)
    }

    /// Where the tests receive the access log.
    var accessLogSocket: String { "\(directory.path)/access.sock" }

    /// The process.
    var processID: pid_t? { pid.withLock { $0 } }

    /// What Caddy printed, all starts together.
    func output() throws -> String { String(decoding: try read("\(directory.path)/log"), as: UTF8.self) }

    /// How many changes the admin endpoint was asked for, refused ones included. Needs a log of level INFO.
    func writeCount() throws -> Int {
        try output().split(separator: "\n").count { line in
            line.contains("\"msg\":\"received request\"")
                && ["PUT", "PATCH", "DELETE", "POST"].contains { line.contains("\"method\":\"\($0)\"") }
        }
    }

    /// A value of the configuration; nil when there is none.
    func configuration(_ path: String) async throws -> JSONValue? {
        let answer = try await admin("GET", "/config/\(path)")
        if answer.status != 200 { return nil }
        let value = try JSONValue(parsing: answer.body)
        return value == .null ? nil : value
    }

    /// A visitor's request over TLS that trusts just the given certificates; what `openssl s_client` printed, the
    /// answer among it.
    func visitSecurely(
        _ host: String, trusting authority: String, credentials: WebCredentials? = nil
    ) async throws -> String {
        let request =
            "GET / HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n"
            + (credentials.map { "Authorization: \(basicAuthorization($0))\r\n" } ?? "") + "\r\n"
        return try await openssl(
            [
                "s_client", "-unix", webSocket, "-servername", host, "-verify_hostname", host, "-CAfile",
                authority, "-verify_return_error", "-ign_eof",
            ], input: request)
    }

    /// Runs `openssl` and returns all that it printed.
    @discardableResult
    func openssl(_ arguments: [String], input: String = "") async throws -> String {
        let name = "\(directory.path)/openssl-\(UInt64.random(in: 0 ... .max))"
        try write(Array(input.utf8), to: "\(name).in")
        let child = try spawn(
            ["/usr/bin/openssl"] + arguments, environment: ["HOME=\(directory.path)"], input: "\(name).in",
            output: "\(name).out")
        try await waitUntil("openssl ends") { waitpid(child, nil, WNOHANG) == child }
        return String(decoding: try read("\(name).out"), as: UTF8.self)
    }

    var client: CaddyAdminClient { CaddyAdminClient(endpoint: .unix(path: adminSocket), http: http) }
}

func basicAuthorization(_ credentials: WebCredentials) -> String {
    let text = Array("\(credentials.user):\(credentials.password)".utf8)
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var encoded: [UInt8] = []
    for start in stride(from: 0, to: text.count, by: 3) {
        let group = text[start..<min(start + 3, text.count)]
        let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
        for index in 0..<4 {
            encoded.append(index <= group.count ? alphabet[Int(bits >> UInt32(18 - 6 * index)) & 63] : 0x3d)
        }
    }
    return "Basic " + String(decoding: encoded, as: UTF8.self)
}

/// Asks again every few milliseconds, for what gives no event.
func waitUntil(
    _ what: String, within limit: Duration = .seconds(60), _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now.advanced(by: limit)
    while try await !condition() {
        if ContinuousClock.now > deadline {
            throw TestCaddy.Failure(reason: "waited in vain until \(what)")
        }
        try await Task.sleep(for: .milliseconds(3))
    }
}

func canConnect(to path: String) -> Bool {
    guard let connection = try? Connection(connectingTo: path) else { return false }
    close(connection.socket)
    return true
}

extension Connection {
    /// Sends a text through an echo and expects it back, in however many pieces.
    func expectEcho(_ text: String, _ place: SourceLocation = #_sourceLocation) throws {
        try write(text)
        var back: [UInt8] = []
        while back.count < text.utf8.count { back += try read() }
        #expect(String(decoding: back, as: UTF8.self) == text, sourceLocation: place)
    }

    /// Connects to a unix socket; reading gives up after 10 s. The caller closes `socket`.
    init(connectingTo path: String) throws {
        let socket = try check(Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0))
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                let length = socklen_t(MemoryLayout<sockaddr_un>.size)
                return connect(socket, __CONST_SOCKADDR_ARG(__sockaddr__: generic), length)
            }
        }
        if result != 0 {
            let number = errno
            close(socket)
            throw SocketError(number: number)
        }
        self.init(socket: socket)
    }
}

func write(_ bytes: [UInt8], to path: String) throws {
    let file = try check(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600))
    defer { close(file) }
    var rest = bytes[...]
    while !rest.isEmpty {
        let written = try check(Int32(rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }))
        rest = rest.dropFirst(Int(written))
    }
}

func read(_ path: String) throws -> [UInt8] {
    let file = try check(open(path, O_RDONLY | O_CLOEXEC))
    defer { close(file) }
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        let count = try check(Int32(Glibc.read(file, &buffer, buffer.count)))
        if count == 0 { return all }
        all += buffer[..<Int(count)]
    }
}

/// Starts a program with just this environment, its output going to a file.
private func spawn(
    _ arguments: [String], environment: [String], input: String = "/dev/null", output: String
) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var argv = arguments.map { strdup($0) } + [nil]
    var envp = environment.map { strdup($0) } + [nil]
    defer { for pointer in argv + envp { free(pointer) } }
    var child: pid_t = 0
    let failure = posix_spawn(&child, arguments[0], &actions, nil, &argv, &envp)
    if failure != 0 { throw SocketError(number: failure) }
    return child
}
