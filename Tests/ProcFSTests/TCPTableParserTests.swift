import Testing

@testable import ProcFS
@testable import TestSupport

@Suite struct TCPTableParserTests {
    static let header =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode   "
    static let good = "   0: 0100007F:0BB8 00000000:0000 0A 0:0 00:0 0  1000        0 42 1 0 100 0 0 10 0"

    static func fixture(_ name: String) throws -> String {
        let folder = "\(#filePath)".split(separator: "/").dropLast().joined(separator: "/")
        var buffer = ReadBuffer()
        try buffer.load("/\(folder)/Fixtures/\(name)", limitBytes: 1 << 20)
        return buffer.withBytes { $0.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) } }
    }

    static func parse(_ text: String, _ table: TCPTable = .ipv4) throws -> TCPTableReading {
        try TCPTableParser.parse(Array(text.utf8).span, as: table)
    }

    static func listener(
        _ table: TCPTable, _ address: String, _ port: UInt16, uid: UInt32 = 0, _ inode: UInt64
    )
        throws -> TCPListener
    {
        TCPListener(
            table: table, address: try #require(IPAddress(address)), port: port, uid: uid, inode: inode)
    }

    @Test("A recorded IPv4 table yields its listeners and nothing of other states")
    func recordedIPv4() throws {
        let reading = try Self.parse(Self.fixture("net-tcp"))
        #expect(reading.rowCount == 7)
        #expect(reading.malformedCount == 0)
        #expect(
            reading.listeners == [
                try Self.listener(.ipv4, "127.0.0.1", 8000, uid: 1000, 161083),
                try Self.listener(.ipv4, "0.0.0.0", 3000, 161074),
                try Self.listener(.ipv4, "127.0.0.1", 5173, 161075),
                try Self.listener(.ipv4, "127.0.0.53", 53, 161076),
            ])
    }

    @Test("A recorded IPv6 table yields IPv6 addresses, and an IPv4-mapped one as IPv4")
    func recordedIPv6() throws {
        let reading = try Self.parse(Self.fixture("net-tcp6"), .ipv6)
        #expect(reading.rowCount == 7)
        #expect(reading.malformedCount == 0)
        #expect(
            reading.listeners == [
                try Self.listener(.ipv6, "::", 8080, 161077),
                try Self.listener(.ipv6, "127.0.0.1", 9000, 161079),
                try Self.listener(.ipv6, "::1", 5173, 161078),
                try Self.listener(.ipv6, "2001:db8::a:1", 8443, 161082),
                try Self.listener(.ipv6, "::1", 8000, uid: 1000, 161084),
            ])
    }

    @Test(
        "A garbled row is reported with its line while the others count",
        arguments: [
            ("", .missing(column: "sl")),
            ("   x: 0100007F:0BB8 00000000:0000 0A", .unreadable(column: "sl")),
            ("   0: 0100007F", .unreadable(column: "local_address")),
            ("   0:", .missing(column: "local_address")),
            ("   0: 0100007F;0BB8 00000000:0000 0A", .unreadable(column: "local_address")),
            (
                "   0: 0100007G:0BB8 00000000:0000 0A 0:0 00:0 0 1000 0 42",
                .unreadable(column: "local_address")
            ),
            (
                "   0: 0100007F:0BBX 00000000:0000 0A 0:0 00:0 0 1000 0 42",
                .unreadable(column: "local_address")
            ),
            ("   0: 0100007F:0BB8 0000:0000 0A", .unreadable(column: "rem_address")),
            ("   0: 0100007F:0BB8 00000000:0000", .missing(column: "st")),
            ("   0: 0100007F:0BB8 00000000:0000 00A", .unreadable(column: "st")),
            ("   0: 0100007F:0BB8 00000000:0000 ZZ", .unreadable(column: "st")),
            ("   0: 0100007F:0BB8 00000000:0000 0A 0:0 00:0 0", .missing(column: "uid")),
            ("   0: 0100007F:0BB8 00000000:0000 0A 0:0 00:0 0 -1 0 42", .unreadable(column: "uid")),
            ("   0: 0100007F:0BB8 00000000:0000 0A 0:0 00:0 0 4294967296 0 42", .unreadable(column: "uid")),
            ("   0: 0100007F:0BB8 00000000:0000 0A 0:0 00:0 0 1000 0", .missing(column: "inode")),
            (
                "   0: 0100007F:0BB8 00000000:0000 0A 0:0 00:0 0 1000 0 99999999999999999999",
                .unreadable(column: "inode")
            ),
        ] as [(String, MalformedRow.Problem)])
    func garbled(row: String, problem: MalformedRow.Problem) throws {
        let reading = try Self.parse("\(Self.header)\n\(Self.good)\n\(row)\n\(Self.good)\n")
        #expect(reading.malformedRows == [MalformedRow(line: 3, problem: problem)])
        #expect(reading.malformedCount == 1)
        #expect(reading.rowCount == 3)
        #expect(reading.listeners.map(\.port) == [3000, 3000])
    }

    @Test("A row that is cut off anywhere is reported, even where the rest of it could be read")
    func truncated() throws {
        let text = "\(Self.header)\n\(Self.good)\n"
        let whole = Array(text.utf8)
        for length in Self.header.utf8.count + 2..<whole.count {
            let part = Array(whole[..<length])
            let reading = try TCPTableParser.parse(part.span, as: .ipv4)
            #expect(reading.listeners.isEmpty)
            #expect(reading.malformedRows == [MalformedRow(line: 2, problem: .unterminated)])
        }
        #expect(try Self.parse(text).listeners.count == 1)
    }

    @Test(
        "A wrong first line is an error that quotes it",
        arguments: [
            "", "\n", "garbage\n", "  sl  local_address rem_address\n", header, "\(header) more\n", good,
        ])
    func wrongHeader(text: String) throws {
        let error = try #require(throws: WrongTableHeader.self) { try Self.parse(text) }
        #expect(error.description.hasPrefix("line 1 is not the header of net/tcp: \""))
        #expect(error.found.utf8.count <= 160)
    }

    @Test("One table is not read as the other")
    func otherTable() {
        #expect(throws: WrongTableHeader.self) { try Self.parse(Self.fixture("net-tcp"), .ipv6) }
        #expect(throws: WrongTableHeader.self) { try Self.parse(Self.fixture("net-tcp6"), .ipv4) }
    }

    @Test("Of many malformed rows all are counted and the first sixteen kept")
    func manyMalformed() throws {
        let rows = String(repeating: "x\n", count: 1000)
        let reading = try Self.parse("\(Self.header)\n\(rows)\(Self.good)\n")
        #expect(reading.malformedCount == 1000)
        #expect(reading.malformedRows.map(\.line) == Array(2...17))
        #expect(reading.listeners.count == 1)
    }

    @Test("A table of 50,000 rows is read whole from a file, in many reads")
    func large() throws {
        let row = "   1: 0100007F:D1A2 0100007F:D14F 01 00000000:00000000 00:00000000 00000000  1000 0 1 1 0"
        let rows = String(repeating: "\(row)\n", count: 50_000)
        let tree = try TemporaryTree()
        try tree.write("\(Self.header)\n\(rows)\(Self.good)\n", to: "self/net/tcp")
        var buffer = ReadBuffer()
        let read = try ProcFileSystem(root: tree.root).tcpListeners(in: .ipv4, buffer: &buffer)
        let reading = try #require(read)
        #expect(reading.rowCount == 50_001)
        #expect(reading.malformedCount == 0)
        #expect(reading.listeners.map(\.inode) == [42])
    }
}
