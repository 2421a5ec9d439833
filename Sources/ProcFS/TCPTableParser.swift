/// Reads the text of `net/tcp` and `net/tcp6`: pure, without allocation per row that does not listen.
package enum TCPTableParser {
    private static let space = UInt8(ascii: " ")
    private static let newline = UInt8(ascii: "\n")
    private static let colon = UInt8(ascii: ":")
    private static let quotedHeaderBytes = 160

    /// The rows that listen.
    ///
    /// A malformed row is reported in the reading and the others still count; a first line that is not the
    /// table's header is an error, since then no column can be trusted.
    package static func parse(
        _ text: Span<UInt8>, as table: TCPTable
    ) throws(WrongTableHeader) -> TCPTableReading {
        var reading = TCPTableReading()
        var line = Line(text: text, startingAt: 0)
        guard line.isTerminated, isHeader(text, line, of: table) else {
            let end = min(line.end, quotedHeaderBytes)
            throw WrongTableHeader(table: table, found: string(text, 0..<end))
        }
        var number = 1
        while line.next < text.count {
            line = Line(text: text, startingAt: line.next)
            number += 1
            reading.rowCount += 1
            do throws(RowProblem) {
                if let listener = try row(text, line, of: table) { reading.listeners.append(listener) }
            } catch {
                reading.malformedCount += 1
                if reading.malformedRows.count < TCPTableReading.keptMalformedRows {
                    reading.malformedRows.append(MalformedRow(line: number, problem: error.problem))
                }
            }
        }
        return reading
    }

    private struct RowProblem: Error {
        let problem: MalformedRow.Problem
        static func missing(_ column: String) -> RowProblem { RowProblem(problem: .missing(column: column)) }
        static func unreadable(_ column: String) -> RowProblem {
            RowProblem(problem: .unreadable(column: column))
        }
    }

    private struct Line {
        let start: Int
        let end: Int
        let isTerminated: Bool
        var next: Int { end + 1 }

        init(text: Span<UInt8>, startingAt start: Int) {
            var end = start
            while end < text.count, text[end] != newline { end += 1 }
            self.start = start
            self.end = end
            self.isTerminated = end < text.count
        }
    }

    private static func isHeader(_ text: Span<UInt8>, _ line: Line, of table: TCPTable) -> Bool {
        let remote: StaticString = table == .ipv4 ? "rem_address" : "remote_address"
        let columns: [StaticString] = [
            "sl", "local_address", remote, "st", "tx_queue", "rx_queue", "tr", "tm->when", "retrnsmt", "uid",
            "timeout", "inode",
        ]
        var position = line.start
        for column in columns {
            guard let found = field(text, &position, line.end), found.count == column.utf8CodeUnitCount
            else { return false }
            for offset in 0..<found.count where text[found.lowerBound + offset] != column.utf8Start[offset] {
                return false
            }
        }
        return field(text, &position, line.end) == nil
    }

    /// The listener of a row; `nil` for a row of another state.
    private static func row(
        _ text: Span<UInt8>, _ line: Line, of table: TCPTable
    ) throws(RowProblem) -> TCPListener? {
        // A cut row may still look whole: a cut inode is a shorter number.
        guard line.isTerminated else { throw RowProblem(problem: .unterminated) }
        var position = line.start
        func column(_ name: StaticString) throws(RowProblem) -> Range<Int> {
            guard let range = field(text, &position, line.end) else { throw .missing("\(name)") }
            return range
        }
        let slot = try column("sl")
        guard text[slot.upperBound - 1] == colon,
            decimal(text, slot.lowerBound..<slot.upperBound - 1) != nil
        else { throw .unreadable("sl") }
        let local = try column("local_address")
        guard isEndpoint(text, local, of: table) else { throw .unreadable("local_address") }
        guard isEndpoint(text, try column("rem_address"), of: table) else { throw .unreadable("rem_address") }
        let state = try column("st")
        guard state.count == 2, let state = hexadecimal(text, state) else { throw .unreadable("st") }
        // 10 is TCP_LISTEN (include/net/tcp_states.h).
        guard state == 10 else { return nil }
        _ = try column("tx_queue:rx_queue")
        _ = try column("tr:tm->when")
        _ = try column("retrnsmt")
        guard let uid = decimal(text, try column("uid")).flatMap({ UInt32(exactly: $0) }) else {
            throw .unreadable("uid")
        }
        _ = try column("timeout")
        guard let inode = decimal(text, try column("inode")) else { throw .unreadable("inode") }
        guard let address = address(text, local, of: table),
            let port = hexadecimal(text, local.upperBound - 4..<local.upperBound)
        else { throw .unreadable("local_address") }
        return TCPListener(
            table: table, address: address, port: UInt16(truncatingIfNeeded: port), uid: uid, inode: inode)
    }

    /// Whether the range has the shape `<8 or 32 digits>:<4 digits>`.
    private static func isEndpoint(_ text: Span<UInt8>, _ range: Range<Int>, of table: TCPTable) -> Bool {
        let digits = table == .ipv4 ? 8 : 32
        return range.count == digits + 5 && text[range.lowerBound + digits] == colon
    }

    /// The kernel prints each 32-bit word of the address, which it holds in network order, as a number of
    /// this machine.
    private static func address(_ text: Span<UInt8>, _ range: Range<Int>, of table: TCPTable) -> IPAddress? {
        func word(_ index: Int) -> UInt32? {
            let start = range.lowerBound + 8 * index
            return hexadecimal(text, start..<start + 8).map {
                UInt32(bigEndian: UInt32(truncatingIfNeeded: $0))
            }
        }
        if table == .ipv4 { return word(0).map { .v4($0) } }
        guard let a = word(0), let b = word(1), let c = word(2), let d = word(3) else { return nil }
        return IPAddress.v6(high: UInt64(a) << 32 | UInt64(b), low: UInt64(c) << 32 | UInt64(d)).unmapped
    }

    /// The next run of bytes that are not blanks, and moves behind it.
    private static func field(_ text: Span<UInt8>, _ position: inout Int, _ end: Int) -> Range<Int>? {
        while position < end, text[position] == space { position += 1 }
        let start = position
        while position < end, text[position] != space { position += 1 }
        return start < position ? start..<position : nil
    }

    /// At most 16 digits, else `nil`.
    private static func hexadecimal(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt64? {
        guard !range.isEmpty, range.count <= 16 else { return nil }
        var value: UInt64 = 0
        for index in range {
            let byte = text[index]
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            value = value << 4 | UInt64(digit)
        }
        return value
    }

    /// At most 19 digits, which always fit, else `nil`.
    private static func decimal(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt64? {
        guard !range.isEmpty, range.count <= 19 else { return nil }
        var value: UInt64 = 0
        for index in range {
            guard case let byte = text[index], byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else {
                return nil
            }
            value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
        }
        return value
    }

    private static func string(_ text: Span<UInt8>, _ range: Range<Int>) -> String {
        var bytes: [UInt8] = []
        for index in range { bytes.append(text[index]) }
        return String(decoding: bytes, as: UTF8.self)
    }
}
