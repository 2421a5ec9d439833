/// Reads the text of `net/fib_trie`, the only list of a namespace's IPv4 addresses that can be read from outside: pure.
package enum FIBTrieParser {
    /// Addresses that are kept, in the table's order.
    package static let addressLimit = 256

    /// The IPv4 addresses that belong to the namespace itself, those of 127.0.0.0/8 left out.
    ///
    /// An address stands in a line `|-- 172.17.0.2`; the lines below say what is known of it, `/32 host LOCAL` if it is
    /// local. The tables main and local may both name it.
    package static func localAddresses(_ text: Span<UInt8>) -> Set<IPAddress> {
        var found: Set<IPAddress> = []
        var leaf: UInt32?
        forEachLine(of: text) { line in
            var fields = Fields(in: line)
            guard let first = fields.next(text) else { return true }
            if text.holds(first, "|--") {
                leaf = fields.next(text).flatMap { address(text, $0) }
            } else if text.holds(first, "/32"), let leaf, leaf >> 24 != 127, let scope = fields.next(text),
                text.holds(scope, "host"), let kind = fields.next(text), text.holds(kind, "LOCAL")
            {
                found.insert(.v4(leaf))
            }
            return found.count < addressLimit
        }
        return found
    }

    private static func address(_ text: Span<UInt8>, _ range: Range<Int>) -> UInt32? {
        var value: UInt32 = 0
        var octets = 0
        var start = range.lowerBound
        for index in range.lowerBound...range.upperBound
        where index == range.upperBound || text[index] == UInt8(ascii: ".") {
            guard octets < 4, index - start <= 3, let octet = text.decimal(start..<index), octet < 256 else {
                return nil
            }
            value = value << 8 | UInt32(octet)
            octets += 1
            start = index + 1
        }
        return octets == 4 ? value : nil
    }
}
