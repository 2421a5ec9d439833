import Glibc
import HTTPClient
import Supervision
import Testing

@testable import CaddyConfig
@testable import TestSupport

private let credentials = Result { try WebCredentials.generate(user: "dev") }

extension TestCaddy {
    fileprivate static let host = "3000--vm1.example.test"

    /// A route that TLS certificates for one label below `example.test` fit.
    fileprivate var secureRoute: Route {
        Route(
            id: "p3000", hosts: [Self.host], upstream: "unix/\(upstreamSocket)",
            upstreamHost: "localhost:3000")
    }

    /// The root that Caddy's own authority has, once there is one.
    fileprivate var root: String { "\(directory.path)/data/caddy/pki/authorities/samd/root.crt" }

    /// Makes an authority and a certificate of it for `*.example.test`; the names of its files.
    fileprivate func makeCertificate(_ name: String) async throws -> (root: String, leaf: String, key: String)
    {
        let base = "\(directory.path)/\(name)"
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        try await openssl(
            ["req", "-x509"] + curve + [
                "-subj", "/CN=\(name) root", "-keyout", "\(base)-root.key", "-out", "\(base)-root.pem",
            ])
        try await openssl(
            ["req", "-x509"] + curve + [
                "-subj", "/CN=\(name) leaf", "-addext", "subjectAltName=DNS:*.example.test", "-CA",
                "\(base)-root.pem", "-CAkey", "\(base)-root.key", "-addext",
                "basicConstraints=critical,CA:false",
                "-keyout", "\(base).key", "-out", "\(base).pem",
            ])
        return ("\(base)-root.pem", "\(base).pem", "\(base).key")
    }
}

@Suite(
    "TLS with a real Caddy", .enabled(if: CaddyVersion.areAvailable, CaddyVersion.hint),
    .timeLimit(.minutes(2)), .serialized)
struct TLSTests {
    @Test(
        "By Caddy's own authority, with authentication; off again without a trace",
        arguments: CaddyVersion.allCases)
    func internalAuthority(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let upstream = try caddy.startUpstream()
        defer { upstream.stop() }
        try await withReconciler(caddy.client) { running in
            running.reconciler.submit(
                caddy.document(
                    [caddy.secureRoute], credentials: credentials,
                    tls: .internal(subjects: ["*.example.test"])))
            try await running.expectChange()
            try await waitUntil("the certificate is there") {
                try await caddy.visitSecurely(TestCaddy.host, trusting: caddy.root).contains("HTTP/1.1 401 ")
            }
            let known = try await caddy.visitSecurely(
                TestCaddy.host, trusting: caddy.root, credentials: credentials)
            #expect(known.contains("HTTP/1.1 200 "))
            #expect(known.contains("Verify return code: 0 (ok)"))
            // Two labels deep it does not reach.
            let deep = try await caddy.visitSecurely("a.b.example.test", trusting: caddy.root)
            #expect(!deep.contains("HTTP/1.1"))
            #expect(try !caddy.output().contains("installing root certificate"))

            running.reconciler.submit(
                caddy.document(
                    [caddy.secureRoute], credentials: credentials, tls: .internal(subjects: ["*.other.test"]))
            )
            try await running.expectChange()
            #expect(
                try await caddy.configuration("apps/tls/certificates/automate") == ["*.other.test"])
            running.reconciler.submit(caddy.document([caddy.secureRoute], credentials: credentials))
            try await running.expectChange()
            #expect(try await caddy.visit(TestCaddy.host, credentials: credentials).status == 200)
        }
        #expect(try await caddy.configuration("apps/tls") == nil)
        #expect(try await caddy.configuration("apps/pki") == nil)
        try await caddy.stop()
    }

    @Test("By a certificate; a new one is served at once", arguments: CaddyVersion.allCases)
    func files(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let upstream = try caddy.startUpstream()
        defer { upstream.stop() }
        let (first, second) = (
            try await caddy.makeCertificate("first"), try await caddy.makeCertificate("second")
        )
        func document(_ certificate: (root: String, leaf: String, key: String)) throws -> CaddyDocument {
            let pair = CertificatePair(
                certificate: String(decoding: try read(certificate.leaf), as: UTF8.self),
                key: String(decoding: try read(certificate.key), as: UTF8.self))
            return caddy.document([caddy.secureRoute], credentials: credentials, tls: .certificate(pair))
        }
        let broken = caddy.document(
            [caddy.secureRoute], credentials: credentials,
            tls: .certificate(CertificatePair(certificate: "nonsense", key: "nonsense")))
        try await withReconciler(caddy.client) { running in
            let pair = try document(first)
            if case .certificate(let pair) = pair.tls { try pair.check() }
            running.reconciler.submit(pair)
            try await running.expectChange()
            let seen = try await caddy.visitSecurely(
                TestCaddy.host, trusting: first.root, credentials: credentials)
            #expect(seen.contains("HTTP/1.1 200 "))
            let writes = try caddy.writeCount()
            running.reconciler.submit(try document(second))
            try await running.expectChange()
            #expect(try caddy.writeCount() == writes + 1)
            let replaced = try await caddy.visitSecurely(TestCaddy.host, trusting: second.root)
            #expect(replaced.contains("HTTP/1.1 401 "))
            #expect(replaced.contains("CN = second leaf"))

            if case .certificate(var mixed) = try document(second).tls {
                mixed.key = String(decoding: try read(first.key), as: UTF8.self)
                #expect(throws: CertificateError.self) { try mixed.check() }
                mixed.key = "nonsense"
                #expect(throws: CertificateError.self) { try mixed.check() }
                mixed.certificate = ""
                #expect(throws: CertificateError.self) { try mixed.check() }
            }
            // A broken one: refused in Caddy's words; what there was is served on.
            running.reconciler.submit(broken)
            _ = try await running.next()
            #expect(running.reconciler.extras().tls?.contains("certificate") == true)
            #expect(
                try await caddy.visitSecurely(TestCaddy.host, trusting: second.root).contains("HTTP/1.1 401 ")
            )
            running.reconciler.submit(try document(first))
            try await running.expectChange()
            #expect(running.reconciler.extras().tls == nil)
            #expect(
                try await caddy.visitSecurely(TestCaddy.host, trusting: first.root).contains("HTTP/1.1 401 "))
            running.reconciler.submit(caddy.document([caddy.secureRoute], credentials: credentials))
            try await running.expectChange()
        }
        #expect(try await caddy.configuration("apps/tls") == nil)
        try await caddy.stop()
    }

    @Test("A certificate that is none leaves all as it was", arguments: CaddyVersion.allCases)
    func unusable(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let upstream = try caddy.startUpstream()
        defer { upstream.stop() }
        try await withReconciler(caddy.client) { running in
            running.reconciler.submit(caddy.document([caddy.secureRoute], credentials: credentials))
            try await running.expectChange()
            let before = try await caddy.configuration("")
            running.reconciler.submit(
                caddy.document(
                    [caddy.secureRoute], credentials: credentials,
                    tls: .certificate(CertificatePair(certificate: "none", key: "secret"))))
            let error = try await running.nextError()
            #expect(error.kind == .refused)
            #expect(!error.detail.contains("secret"))
            #expect(try await caddy.configuration("") == before)
            #expect(try await caddy.visit(TestCaddy.host, credentials: credentials).status == 200)
        }
        try await caddy.stop()
    }

    @Test("Others' TLS stays, and an id of ours elsewhere is told", arguments: CaddyVersion.allCases)
    func foreign(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let theirs: JSONValue = [
            "certificates": ["automate": ["theirs.test"]],
            "automation": ["policies": [["subjects": ["theirs.test"], "issuers": [["module": "internal"]]]]],
        ]
        // Without it, Caddy would put its `local` authority into this machine's trust store.
        let authority: JSONValue = ["certificate_authorities": ["local": ["install_trust": false]]]
        #expect(try await caddy.admin("PUT", "/config/apps/pki", authority).status == 200)
        #expect(try await caddy.admin("PUT", "/config/apps/tls", theirs).status == 200)
        let document = caddy.document(
            [caddy.secureRoute], credentials: credentials, tls: .internal(subjects: ["*.example.test"]))
        try await withReconciler(caddy.client) { running in
            running.reconciler.submit(document)
            try await running.expectChange()
            #expect(
                try await caddy.configuration("apps/tls/certificates/automate")
                    == ["theirs.test", "*.example.test"])
            running.reconciler.submit(caddy.document([], credentials: credentials))
            try await running.expectChange()
        }
        #expect(try await caddy.configuration("apps/tls") == theirs)
        #expect(try await caddy.configuration("apps/pki") == authority)

        let stolen: JSONValue = [
            "@id": "samd_tls", "listen": [.string("unix/\(caddy.foreignSocket)")],
        ]
        #expect(try await caddy.admin("PUT", "/config/apps/http/servers/other", stolen).status == 200)
        try await withReconciler(caddy.client) { running in
            running.reconciler.submit(document)
            let error = try await running.nextError()
            #expect(error.kind == .foreign)
            #expect(error.detail.contains("/config/apps/http/servers/other"))
        }
        #expect(try await caddy.configuration("apps/tls") == theirs)
        try await caddy.stop()
    }

    @Test("An id that an old Caddy has twice is made one")
    func duplicates() async throws {
        let (caddy, credentials) = (try TestCaddy(.debian), try credentials.get())
        try await caddy.start(caddy.bareConfiguration)
        let policies = ["*.a.test", "*.b.test"].map { subject -> JSONValue in
            [
                "@id": "samd_tls", "subjects": [.string(subject)],
                "issuers": [["module": "internal", "ca": "samd"]],
            ]
        }
        let authority: JSONValue = ["certificate_authorities": ["samd": ["install_trust": false]]]
        #expect(try await caddy.admin("PUT", "/config/apps/pki", authority).status == 200)
        let twice: JSONValue = ["automation": ["policies": .array(policies)]]
        #expect(try await caddy.admin("PUT", "/config/apps/tls", twice).status == 200)
        try await withReconciler(caddy.client) { running in
            let document = caddy.document(
                [], credentials: credentials, tls: .internal(subjects: ["*.a.test"]))
            running.reconciler.submit(document)
            // The authority lacks our id, so it is somebody's.
            let error = try await running.nextError()
            #expect(error.kind == .foreign)
            #expect(try await caddy.admin("DELETE", "/config/apps/tls").status == 200)
            #expect(try await caddy.admin("DELETE", "/config/apps/pki").status == 200)
            let ours: JSONValue = [
                "certificate_authorities": ["samd": ["@id": "samd_authority", "install_trust": false]]
            ]
            #expect(try await caddy.admin("PUT", "/config/apps/pki", ours).status == 200)
            #expect(try await caddy.admin("PUT", "/config/apps/tls", twice).status == 200)
            running.reconciler.submit(document)
            try await running.expectChange()
            #expect(try await caddy.configuration("apps/tls/automation/policies")?.elements == [policies[0]])
        }
        try await caddy.stop()
    }

    @Test(
        "What a foreign /load wipes, and what a restart forgets, is put back with all that belongs to it",
        arguments: CaddyVersion.allCases)
    func repair(version: CaddyVersion) async throws {
        let (caddy, credentials) = (try TestCaddy(version), try credentials.get())
        try await caddy.start(caddy.foreignConfiguration)
        let document = caddy.document(
            [caddy.secureRoute], credentials: credentials, tls: .internal(subjects: ["*.example.test"]),
            withAccessLog: true)
        try await withAccessLog(.path(caddy.accessLogSocket)) { log in
            try await withReconciler(caddy.client, settings: brisk) { running in
                running.reconciler.submit(document)
                try await running.expectChange()
                func expectAll(_ why: String) async throws {
                    #expect(await running.next { $0.isRepaired } != nil, "\(why)")
                    try await waitUntil("the certificate is there") {
                        try await caddy.visitSecurely(TestCaddy.host, trusting: caddy.root)
                            .contains("HTTP/1.1 401 ")
                    }
                    #expect(try await log.next().last?.status == 401, "\(why)")
                }
                try await waitUntil("the load is accepted") {
                    (try? await caddy.admin("POST", "/load", caddy.foreignConfiguration).status) == 200
                }
                try await expectAll("load")
                try await caddy.stop()
                try await caddy.start(caddy.foreignConfiguration)
                try await expectAll("restart")
                // Only a piece: noticed at the next look at the shared places.
                for place in ["apps/tls", "logging/logs/samd"] {
                    try await waitUntil("the change is accepted") {
                        (try? await caddy.admin("DELETE", "/config/\(place)").status) == 200
                    }
                    try await expectAll(place)
                }
            }
        }
        try await caddy.stop()
    }
}
