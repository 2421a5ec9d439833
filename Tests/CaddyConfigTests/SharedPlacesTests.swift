import Testing

@testable import CaddyConfig

@Suite("What stands beside the server")
struct SharedPlacesTests {
    private static let wanted = SharedPieces(
        tls: .internal(subjects: ["*.a.test"]), accessLog: "/run/x.sock", features: CaddyFeatures())
    private static let none = SharedPieces(tls: .off, accessLog: nil, features: CaddyFeatures())
    private static let files = SharedPieces(
        tls: .certificate(CertificatePair(certificate: "c", key: "k")), accessLog: nil,
        features: CaddyFeatures())

    /// Others' values, one for each place.
    private static let theirs: [(SharedPlace, JSONValue)] = [
        (.logging, ["sink": ["writer": ["output": "discard"]], "logs": ["theirs": ["level": "WARN"]]]),
        (.logging, ["logs": ["default": ["level": "ERROR", "exclude": ["admin"]]]]),
        (.authorities, ["certificate_authorities": ["local": ["install_trust": true]]]),
        (
            .certificates,
            [
                "session_tickets": ["disabled": true],
                "certificates": [
                    "automate": ["b.test"], "load_pem": [["certificate": "t", "key": "u"]],
                    "load_files": [],
                ],
                "automation": [
                    "policies": [["subjects": ["b.test"]], ["issuers": [["module": "acme"]]]],
                    "ocsp_interval": 5,
                ],
            ]
        ),
    ]

    @Test("What was added is removed without a trace", arguments: theirs)
    func roundTrip(place: SharedPlace, theirs: JSONValue) throws {
        for pieces in [Self.wanted, Self.files] where pieces.isWanted(at: place) {
            let filled = try #require(try pieces.merged(into: theirs, at: place))
            #expect(filled != theirs)
            #expect(try pieces.merged(into: filled, at: place) == filled)
            #expect(try Self.none.merged(into: filled, at: place) == theirs)
        }
        #expect(try Self.none.merged(into: theirs, at: place) == theirs)
    }

    @Test("Where nothing was, nothing is left", arguments: SharedPlace.allCases)
    func empty(place: SharedPlace) throws {
        #expect(try Self.none.merged(into: nil, at: place) == nil)
        #expect(try Self.none.merged(into: [:], at: place) == [:])
        let filled = try Self.wanted.merged(into: nil, at: place)
        #expect(filled != nil)
        #expect(try Self.none.merged(into: filled, at: place) == nil)
    }

    @Test("Our policy stands before one that takes all names, and behind others'")
    func order() throws {
        let certificates = try Self.wanted.merged(into: Self.theirs[3].1, at: .certificates)
        let policies = try #require(certificates?["automation"]?["policies"]?.elements)
        #expect(policies.map { $0["@id"]?.stringValue } == [nil, "samd_tls", nil])
        #expect(policies[0]["subjects"] == ["b.test"])
    }

    @Test("Changed subjects replace ours, and only ours")
    func subjects() throws {
        var pieces = Self.wanted
        let before = try pieces.merged(into: ["certificates": ["automate": ["b.test"]]], at: .certificates)
        #expect(before?["certificates"]?["automate"] == ["b.test", "*.a.test"])
        pieces.tls = .internal(subjects: ["*.c.test", "c.test"])
        let after = try pieces.merged(into: before, at: .certificates)
        #expect(after?["certificates"]?["automate"] == ["b.test", "*.c.test", "c.test"])
        #expect(after?["automation"]?["policies"]?.elements?.count == 1)
    }

    @Test("An id that stands there twice is made one")
    func duplicates() throws {
        let twice: JSONValue = [
            "automation": [
                "policies": [
                    ["@id": "samd_tls", "subjects": ["*.old.test"]], ["subjects": ["b.test"]],
                    ["@id": "samd_tls", "subjects": ["*.a.test"]],
                ]
            ],
            "certificates": ["automate": ["*.old.test", "*.a.test"]],
        ]
        let merged = try Self.wanted.merged(into: twice, at: .certificates)
        let policies = try #require(merged?["automation"]?["policies"]?.elements)
        #expect(policies.map { $0["@id"]?.stringValue } == ["samd_tls", nil])
        #expect(merged?["certificates"]?["automate"] == ["*.a.test"])
    }

    @Test(
        "The default log leaves our requests out unless it does so already",
        arguments: [
            ([:], ["http.log.access.samd"]),
            (["exclude": ["admin"]], ["admin", "http.log.access.samd"]),
            (["exclude": ["http.log.access"]], ["http.log.access"]),
            (["exclude": ["http.log.access.sam"]], ["http.log.access.sam", "http.log.access.samd"]),
            (["include": ["admin"]], nil), (["include": ["http.log"]], ["http.log.access.samd"]),
        ] as [(JSONValue, JSONValue?)])
    func defaultLog(log: JSONValue, excluded: JSONValue?) throws {
        let merged = try Self.wanted.merged(into: ["logs": ["default": log]], at: .logging)
        #expect(merged?["logs"]?["default"]?["exclude"] == excluded)
    }

    @Test("Others' values under our names are not touched")
    func clash() throws {
        let log: JSONValue = ["logs": ["samd": ["level": "DEBUG"]]]
        let authority: JSONValue = ["certificate_authorities": ["samd": ["name": "x"]]]
        for (place, value) in [(SharedPlace.logging, log), (.authorities, authority)] {
            let error = #expect(throws: SharedPieces.Clash.self) {
                try Self.wanted.merged(into: value, at: place)
            }
            #expect(error?.detail.contains("not ours") == true)
            #expect(try Self.none.merged(into: value, at: place) == value)
        }
    }
}
