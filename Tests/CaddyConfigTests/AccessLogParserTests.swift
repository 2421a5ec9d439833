import Testing

@testable import CaddyConfig

/// Lines as the two versions wrote them, shortened by what the encoder's filter takes away.
private let fromOld =
    #"{"level":"info","ts":1795424062.4411583,"logger":"http.log.access.samd","msg":"handled request","request":"#
    + #"{"remote_ip":"127.0.0.1","remote_port":"54006","proto":"HTTP/1.1","method":"GET","host":"A.Example.com:80","#
    + #""headers":{"Sec-Fetch-User":["?1"],"Authorization":[]}},"user_id":"dev","duration":0.000034641,"size":2,"#
    + #""status":200}"#
private let fromCurrent =
    #"{"level":"info","ts":1795424064,"logger":"http.log.access.samd","msg":"handled request","request":"#
    + #"{"remote_ip":"::1","remote_port":"39336","client_ip":"::1","proto":"HTTP/1.1","method":"GET","host":"#
    + #""[::1]:8080","headers":{"Upgrade":["websocket"]}},"bytes_read":17,"user_id":"","duration":1.5e-05,"size":0,"#
    + #""status":101,"resp_headers":{}}"#

/// A whole line in which one field is something else.
private func line(_ changes: (inout [String: JSONValue], inout [String: JSONValue]) -> Void) -> [UInt8] {
    var request: [String: JSONValue] = ["remote_ip": "10.0.0.1", "method": "GET", "host": "a.test"]
    var line: [String: JSONValue] = ["ts": 5, "user_id": "", "duration": 1, "size": 3, "status": 200]
    changes(&line, &request)
    if line["request"] == nil { line["request"] = .object(request) }
    return Array(JSONValue.object(line).compact.utf8)
}

@Suite("Lines of the access log")
struct AccessLogParserTests {
    @Test("Both versions' lines are read")
    func versions() throws {
        #expect(
            try AccessLogParser.parse(Array(fromOld.utf8))
                == AccessLogEntry(
                    time: 1795424062.4411583, host: "a.example.com", method: "GET", status: 200, user: "dev",
                    bytesWritten: 2, duration: 0.000034641, remoteAddress: "127.0.0.1", secFetchUser: true))
        #expect(
            try AccessLogParser.parse(Array(fromCurrent.utf8))
                == AccessLogEntry(
                    time: 1_795_424_064, host: "[::1]", method: "GET", status: 101, bytesRead: 17,
                    duration: 0.000015, remoteAddress: "::1", isUpgrade: true))
    }

    @Test(
        "The host is lower case and without port",
        arguments: [
            ("a.test", "a.test"), ("A.Test:8443", "a.test"), ("", ""), ("[FE80::1]:80", "[fe80::1]"),
            ("a.test.:80", "a.test."), ("127.0.0.1", "127.0.0.1"),
        ])
    func host(given: String, read: String) throws {
        #expect(try AccessLogParser.parse(line { $1["host"] = .string(given) }).host == read)
    }

    @Test("Earlier versions' remote_addr is read without its port")
    func remoteAddress() throws {
        for (given, read) in [("10.1.2.3:55", "10.1.2.3"), ("[::1]:55", "::1"), ("@", "@")] {
            let bytes = line {
                $1["remote_ip"] = nil
                $1["remote_addr"] = .string(given)
            }
            #expect(try AccessLogParser.parse(bytes).remoteAddress == read)
        }
    }

    @Test("A websocket over HTTP/2 counts as one, and one to which Caddy 2.6 gives no status")
    func connect() throws {
        for (headers, isUpgrade) in [(["Upgrade": ["websocket"]], true), ([:], false)] as [(JSONValue, Bool)]
        {
            let bytes = line {
                $0["status"] = 0
                $1["headers"] = headers
            }
            #expect(try AccessLogParser.parse(bytes).isUpgrade == isUpgrade)
        }
        #expect(try AccessLogParser.parse(line { $1["method"] = "CONNECT" }).isUpgrade)
        #expect(
            try !AccessLogParser.parse(
                line {
                    $0["status"] = 404
                    $1["headers"] = ["Upgrade": ["websocket"]]
                }
            ).isUpgrade)
    }

    @Test(
        "What is missing or out of range is named",
        arguments: [
            ("ts", nil), ("ts", "2026"), ("ts", -1), ("ts", .double(1e300)),
            ("status", nil), ("status", "200"), ("status", -1), ("status", 1000), ("status", .double(200.5)),
            ("size", nil), ("size", -5), ("size", .double(1e30)), ("bytes_read", -1), ("bytes_read", "1"),
            ("duration", nil), ("duration", .double(-0.5)), ("duration", "1s"), ("user_id", 5),
            ("user_id", "a\u{7}"), ("user_id", .string(String(repeating: "u", count: 257))),
            ("request.host", nil), ("request.host", 1), ("request.host", "a\u{0}b"), ("request.host", "a b"),
            ("request.host", "a\nb"), ("request.host", "é.test"), ("request.host", "[::1"),
            ("request.host", .string(String(repeating: "h", count: 10_000))),
            ("request.method", nil), ("request.method", ""), ("request.method", "G T"),
            ("request.method", .string(String(repeating: "M", count: 33))),
            ("request.remote_ip", nil), ("request.remote_ip", 7), ("request.remote_ip", "\u{1b}[2J"),
            ("request.remote_ip", .string(String(repeating: "1", count: 65))),
        ] as [(String, JSONValue?)])
    func fields(name: String, value: JSONValue?) {
        let bytes = line { line, request in
            if name.hasPrefix("request.") {
                request[String(name.dropFirst(8))] = value
            } else {
                line[name] = value
            }
        }
        #expect(throws: AccessLogError.field(name)) { try AccessLogParser.parse(bytes) }
    }

    @Test("What is no JSON object, too long or too deep is refused")
    func noObject() {
        for text in ["", "{", "null", "[]", "\"request\"", String(repeating: "[", count: 60_000)] {
            #expect(throws: AccessLogError.self) { try AccessLogParser.parse(Array(text.utf8)) }
        }
        #expect(throws: AccessLogError.tooLong) {
            try AccessLogParser.parse([UInt8](repeating: 0x20, count: AccessLogParser.maxLineBytes + 1))
        }
        #expect(throws: AccessLogError.field("request")) {
            try AccessLogParser.parse(Array(#"{"ts":1}"#.utf8))
        }
    }

    @Test("Lines are found however the bytes are cut, and those beyond the bound are dropped")
    func splitter() {
        let text = Array("one\n\ntwo\n0123456789x\nthree\n0123456789\nend".utf8)
        for size in 1...text.count {
            var splitter = LineSplitter(maxLineBytes: 10)
            var lines: [String?] = []
            for start in stride(from: 0, to: text.count, by: size) {
                text[start..<min(start + size, text.count)].withUnsafeBytes { bytes in
                    splitter.take(bytes) { line in
                        lines.append(line.map { String(decoding: $0, as: UTF8.self) })
                    }
                }
            }
            #expect(lines == ["one", "two", nil, "three", "0123456789"])
        }
    }
}
