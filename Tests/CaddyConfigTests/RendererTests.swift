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

    private static func document(_ routes: [Route], listen: [String] = ["127.0.0.1:8080"]) -> CaddyDocument {
        CaddyDocument(listen: listen, account: account, routes: routes)
    }

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
    ]

    /// `SAMD_UPDATE_GOLDENS=1` writes the files anew, to be looked at in the diff.
    @Test("Renders as in Goldens/", arguments: cases)
    func golden(_ test: Case) throws {
        let folder = #filePath.split(separator: "/").dropLast().joined(separator: "/")
        let file = "/\(folder)/Goldens/\(test.name).json"
        let rendered = CaddyRenderer(features: test.features).render(test.document).pretty
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
