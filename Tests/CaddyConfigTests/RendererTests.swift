import Glibc
import Testing

@testable import CaddyConfig

@Suite("Rendering Caddy's configuration")
struct RendererTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        var document: CaddyDocument
        var features = CaddyFeatures()
        var testDescription: String { name }
    }

    private static let account = WebAccount(user: "dev", passwordHash: "$2b$04$abcdefghijklmnopqrstuv")
    private static let web = Route(
        id: "p3000", hosts: ["3000--vm.localhost", "ui--vm.localhost"], upstream: "127.0.0.1:3000",
        upstreamHost: "localhost:3000")
    private static let open = Route(
        id: "p8000", hosts: ["8000--vm.localhost"], upstream: "127.0.0.1:8000",
        upstreamHost: "localhost:8000",
        isPublic: true)
    private static let six = Route(
        id: "p5173", hosts: ["5173--vm.localhost"], upstream: "[::1]:5173", upstreamHost: "localhost:5173")

    private static let relay = Route(
        id: "p3000-dc1", hosts: ["3000-dc1--vm.localhost"], upstream: "unix//run/samd/relay/dc1.3000.sock",
        upstreamHost: "localhost:3000")

    private static func document(
        _ routes: [Route], listen: [String] = ["127.0.0.1:8080"], tls: CaddyTLS = .off,
        accessLog: String? = nil, trustedProxies: [String] = []
    ) -> CaddyDocument {
        CaddyDocument(
            listen: listen, account: account, routes: routes, tls: tls, accessLog: accessLog,
            trustedProxies: trustedProxies)
    }

    private static let files = CaddyTLS.certificate(
        CertificatePair(certificate: "-----BEGIN CERTIFICATE…", key: "-----BEGIN PRIVATE KEY…"))

    /// One file of `Goldens/` each.
    static let cases = [
        Case(name: "no-routes", document: document([])),
        Case(name: "one-route", document: document([web])),
        Case(name: "several-routes", document: document([open, web, six])),
        Case(name: "public-route", document: document([open])),
        Case(
            name: "without-stream-close-delay", document: document([web]),
            features: CaddyFeatures(streamCloseDelay: false)),
        Case(name: "ipv6", document: document([six], listen: ["[::1]:8080", "127.0.0.1:8080"])),
        Case(name: "relay", document: document([relay])),
        Case(name: "tls-internal", document: document([web], tls: .internal(subjects: ["*.vm.example.com"]))),
        Case(name: "tls-certificate", document: document([web], tls: files)),
        Case(name: "access-log", document: document([web], accessLog: "/run/samd/access.sock")),
        Case(name: "trusted-proxies", document: document([web], trustedProxies: ["127.0.0.0/8", "::1/128"])),
    ]

    @Test("For an old Caddy only what it does not know is missing", arguments: cases)
    func oldVersion(_ test: Case) {
        func stripped(_ value: JSONValue) -> JSONValue {
            switch value {
            case .object(let members):
                .object(members.filter { $0.key != "stream_close_delay" }.mapValues(stripped))
            case .array(let elements): .array(elements.map(stripped))
            default: value
            }
        }
        let current = CaddyRenderer(features: CaddyFeatures()).render(test.document)
        let old = CaddyRenderer(features: CaddyFeatures(streamCloseDelay: false, softStart: false))
        #expect(old.render(test.document) == stripped(current))
    }

    /// What stands beside the server; one file of `Goldens/` each, with a member for each place.
    @Test(
        "Shared places are filled as in Goldens/",
        arguments: [
            ("places-internal", CaddyTLS.internal(subjects: ["*.vm.example.com", "vm.example.com"]), true),
            ("places-certificate", files, true), ("places-without-soft-start", .off, false),
        ])
    func places(name: String, tls: CaddyTLS, softStart: Bool) throws {
        let pieces = SharedPieces(
            tls: tls, accessLog: "/run/samd/access.sock", features: CaddyFeatures(softStart: softStart))
        var all: [String: JSONValue] = [:]
        for place in SharedPlace.allCases { all[place.rawValue] = try pieces.merged(into: nil, at: place) }
        try expectGolden(name, JSONValue.object(all).pretty)
    }

    /// `SAMD_UPDATE_GOLDENS=1` writes the files anew, to be looked at in the diff.
    @Test("Renders as in Goldens/", arguments: cases)
    func golden(_ test: Case) throws {
        try expectGolden(test.name, CaddyRenderer(features: test.features).render(test.document).pretty)
    }

    private func expectGolden(_ name: String, _ rendered: String) throws {
        let folder = #filePath.split(separator: "/").dropLast().joined(separator: "/")
        let file = "/\(folder)/Goldens/\(name).json"
        if getenv("SAMD_UPDATE_GOLDENS") != nil { try write(Array(rendered.utf8), to: file) }
        #expect(rendered == String(decoding: try read(file), as: UTF8.self))
    }

    @Test("The order in which routes are given does not count")
    func order() {
        let renderer = CaddyRenderer(features: CaddyFeatures())
        let one = renderer.render(Self.document([Self.web, Self.open, Self.six]))
        #expect(one == renderer.render(Self.document([Self.six, Self.web, Self.open])))
    }

    @Test("Pages hold no braces, in which Caddy would look for placeholders")
    func placeholders() {
        func bodies(_ value: JSONValue) -> [String] {
            switch value {
            case .object(let members):
                members.flatMap { $0.key == "body" ? [$0.value.stringValue ?? ""] : bodies($0.value) }
            case .array(let elements): elements.flatMap(bodies)
            default: []
            }
        }
        let all = bodies(CaddyRenderer(features: CaddyFeatures()).render(Self.document([])))
        #expect(all.count == 2)
        for body in all { #expect(!body.contains("{")) }
    }
}

@Suite("Credentials and endpoints")
struct CredentialsTests {
    @Test("Generated passwords are long, URL-safe, never the same, and not shown by accident")
    func generate() throws {
        let all = try (0..<20).map { _ in try WebCredentials.generate(user: "dev") }
        for credentials in all {
            #expect(credentials.password.utf8.count == 27)
            #expect(
                credentials.password.utf8.allSatisfy {
                    isalnum(Int32($0)) != 0 || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
                })
            #expect(credentials.passwordHash.hasPrefix("$2b$04$"))
            #expect(credentials.passwordHash.utf8.count == 60)
            #expect(!"\(credentials)".contains(credentials.password))
            #expect(!String(reflecting: credentials).contains(credentials.password))
        }
        #expect(Set(all.map(\.password)).count == 20)
        #expect(Set(all.map(\.passwordHash)).count == 20)
    }

    @Test(
        "Endpoints are read in Caddy's notation",
        arguments: [
            ("unix//run/caddy/admin.sock", CaddyAdminEndpoint.unix(path: "/run/caddy/admin.sock")),
            ("127.0.0.1:2019", .tcp(host: "127.0.0.1", port: 2019)),
            ("localhost:2019", .tcp(host: "localhost", port: 2019)),
            ("[::1]:2019", .tcp(host: "::1", port: 2019)),
        ])
    func endpoint(text: String, endpoint: CaddyAdminEndpoint) {
        #expect(CaddyAdminEndpoint(text) == endpoint)
        #expect(endpoint.description == text)
    }

    @Test(
        "Other notations are refused",
        arguments: [
            "", "unix/run/x", "/run/x", "127.0.0.1", ":2019", "::1:2019", "a:0", "a:65536", "http://a:1",
        ])
    func noEndpoint(text: String) {
        #expect(CaddyAdminEndpoint(text) == nil)
    }

    @Test(arguments: [
        ("dev", "ZGV2O[ghijklmnopqrstuv]"), ("a", "YT[opqr]"), ("ab", "YWI6"),
    ])
    func `credentials of one user are told by the digits that hold the name`(user: String, digits: String) {
        #expect(BasicCredentials.pattern(forUser: user) == "^(?i:basic) \(digits)[A-Za-z0-9+/=]*$")
    }
}
