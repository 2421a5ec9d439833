import AllocationCount
import Glibc
import ProcFS

/// Parses tables like the kernel's again and again; prints the least and the median time and the allocations as JSON.
@main
enum ParseBench {
    private static let rows = 10_000
    private static let fewRows = 1_000
    private static let listeners = 100
    private static let runs = 201

    static func main() throws {
        let result = try TCPTable.allCases.map { table in
            let text = Self.text(table, rows: rows)
            var times = try (0..<runs).map { _ in try time { try parse(text, table, rows: rows) } }
            times.sort()
            let few = Self.text(table, rows: fewRows)
            let allocations = try allocations { try parse(text, table, rows: rows) }
            let allocationsForFew = try self.allocations { try parse(few, table, rows: fewRows) }
            return """
                "\(table.rawValue)": {"rows": \(rows), "listeners": \(listeners), "runs": \(runs), \
                "median_ms": \(milliseconds(times[runs / 2])), "least_ms": \(milliseconds(times[0])), \
                "allocations": \(allocations), "few_rows": \(fewRows), "allocations_few": \(allocationsForFew)}
                """
        }
        print("{\(result.joined(separator: ", "))}")
    }

    private static func parse(_ text: [UInt8], _ table: TCPTable, rows: Int) throws {
        let reading = try TCPTableParser.parse(text.span, as: table)
        guard reading.rowCount == rows, reading.listeners.count == listeners, reading.malformedCount == 0
        else {
            fatalError(
                "read \(reading.rowCount) rows, \(reading.listeners.count) listeners: \(reading.malformedRows)"
            )
        }
    }

    private static func time(_ act: () throws -> Void) rethrows -> Duration {
        try ContinuousClock().measure(act)
    }

    private static func allocations(_ act: () throws -> Void) rethrows -> UInt {
        let before = allocation_count()
        try act()
        return allocation_count() - before
    }

    private static func milliseconds(_ duration: Duration) -> Double {
        Double(duration.components.attoseconds) / 1e15 + Double(duration.components.seconds) * 1e3
    }

    /// A table as `tcp4_seq_show` and `tcp6_seq_show` print it: listeners first, then established connections.
    private static func text(_ table: TCPTable, rows: Int) -> [UInt8] {
        let local = table == .ipv4 ? "0100007F" : "0000000000000000FFFF00000100007F"
        let remote = table == .ipv4 ? "rem_address  " : "remote_address                       "
        let nobody = table == .ipv4 ? "00000000" : "00000000000000000000000000000000"
        var text =
            table == .ipv4
            ? padded(
                "  sl  local_address \(remote) st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
            )
            : "  sl  local_address                         \(remote)  st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        for row in 0..<rows {
            let isListener = row < listeners
            let ends =
                isListener
                ? "\(local):\(port(3000 + row)) \(nobody):0000"
                : "\(local):\(port(3000)) \(local):\(port(row))"
            let line =
                right("\(row)", 4)
                + ": \(ends) \(isListener ? "0A" : "01") 00000000:00000000 00:00000000 00000000 "
                + right("1000", 5) + "        0 \(20_000 + row) 1 0000000000000000 20 4 30 10 -1"
            text += table == .ipv4 ? padded(line) : line + "\n"
        }
        return Array(text.utf8)
    }

    /// `net/tcp` has rows of 149 characters (TMPSZ in net/ipv4/tcp_ipv4.c).
    private static func padded(_ line: String) -> String {
        line + String(repeating: " ", count: max(0, 149 - line.utf8.count)) + "\n"
    }

    private static func right(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.utf8.count)) + text
    }

    private static func port(_ number: Int) -> String {
        let digits = String(number, radix: 16, uppercase: true)
        return String(repeating: "0", count: 4 - digits.utf8.count) + digits
    }
}
