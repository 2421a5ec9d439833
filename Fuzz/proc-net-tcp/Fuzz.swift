// Feeds bytes to the parser of net/tcp and net/tcp6. Beyond not trapping it must keep these promises:
//   - there are at most as many listeners and malformed rows as lines, and malformed rows come in order;
//   - a listener, written the way the kernel writes a row, is read back as the same listener;
//   - an address's text is read back as the same address.
//
// The first byte chooses the table ('4' or anything else), the rest is its text.

package enum Promise {
    package static let headers: [TCPTable: String] = [
        .ipv4:
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
        .ipv6:
            "  sl  local_address remote_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode",
    ]

    static func check(_ input: UnsafeRawBufferPointer) {
        guard let selector = input.first else { return }
        let table: TCPTable = selector == UInt8(ascii: "4") ? .ipv4 : .ipv6
        let text = Array(input.dropFirst())
        guard let reading = try? TCPTableParser.parse(text.span, as: table) else { return }
        let lines = text.count { $0 == UInt8(ascii: "\n") } + 1
        precondition(reading.rowCount < lines)
        precondition(reading.listeners.count + reading.malformedCount <= reading.rowCount)
        precondition(
            reading.malformedRows.count == min(reading.malformedCount, TCPTableReading.keptMalformedRows))
        precondition(
            zip(reading.malformedRows, reading.malformedRows.dropFirst()).allSatisfy { $0.line < $1.line })
        for listener in reading.listeners {
            precondition(listener.table == table)
            let row = Array("\(headers[table] ?? "")\n\(kernelRow(listener))\n".utf8)
            precondition((try? TCPTableParser.parse(row.span, as: table))?.listeners == [listener])
            precondition(IPAddress(listener.address.description) == listener.address)
        }
    }

    /// The row as tcp4_seq_show and tcp6_seq_show print it.
    private static func kernelRow(_ listener: TCPListener) -> String {
        let words: [UInt32] =
            switch (listener.table, listener.address) {
            case (.ipv4, .v4(let bits)): [bits]
            case (.ipv6, .v4(let bits)): [0, 0, 0xffff, bits]
            case (_, .v6(let high, let low)):
                [high >> 32, high, low >> 32, low].map { UInt32(truncatingIfNeeded: $0) }
            }
        let address = words.map { hexadecimal($0.bigEndian, 8) }.joined()
        let remote = String(repeating: "0", count: address.count)
        return "   0: \(address):\(hexadecimal(UInt32(listener.port), 4)) \(remote):0000 0A 00000000:00000000"
            + " 00:00000000 00000000 \(listener.uid) 0 \(listener.inode) 1 0000000000000000 100 0 0 10 0"
    }

    private static func hexadecimal(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: width - digits.count) + digits
    }
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafeRawPointer?, _ count: Int) -> CInt {
    Promise.check(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}
