import Glibc

/// An IPv4 or IPv6 address without port or zone; `Codable` as its canonical text (RFC 5952 for IPv6).
///
/// An IPv4-mapped IPv6 address (`::ffff:127.0.0.1`) is kept as it is; `unmapped` gives the IPv4 address it
/// stands for.
package enum IPAddress: Hashable, Sendable {
    /// The 32 bits of the address, the first octet in the highest byte.
    case v4(UInt32)
    /// The 128 bits of the address, the first octet in the highest byte of `high`.
    case v6(high: UInt64, low: UInt64)

    /// `0.0.0.0`: every local IPv4 address when listened on.
    package static let anyIPv4 = IPAddress.v4(0)
    /// `::`: every local address when listened on, usually IPv4 included.
    package static let anyIPv6 = IPAddress.v6(high: 0, low: 0)
    /// `127.0.0.1`.
    package static let loopbackIPv4 = IPAddress.v4(0x7f00_0001)
    /// `::1`.
    package static let loopbackIPv6 = IPAddress.v6(high: 0, low: 1)

    /// Whether this is an IPv6 address (also when it is IPv4-mapped).
    package var isIPv6: Bool {
        if case .v6 = self { true } else { false }
    }

    /// The IPv4 address behind an IPv4-mapped one (`::ffff:0:0/96`); any other address unchanged.
    package var unmapped: IPAddress {
        guard case .v6(high: 0, let low) = self, low >> 32 == 0xffff else { return self }
        return .v4(UInt32(truncatingIfNeeded: low))
    }

    /// Whether only this host can reach the address: `127.0.0.0/8`, `::1`, and the IPv4-mapped form of the
    /// former.
    package var isLoopback: Bool {
        switch unmapped {
        case .v4(let bits): bits >> 24 == 127
        case .v6(let high, let low): high == 0 && low == 1
        }
    }

    /// Whether the address stands for every local one: `0.0.0.0`, `::`, `::ffff:0.0.0.0`.
    package var isUnspecified: Bool {
        switch unmapped {
        case .v4(let bits): bits == 0
        case .v6(let high, let low): high == 0 && low == 0
        }
    }

    /// Reads `a.b.c.d` or any IPv6 text form that inet_pton(3) takes; `nil` for anything else, zones
    /// included.
    package init?(_ text: String) {
        // A NUL would end the C string early and hide what follows it.
        guard !text.utf8.contains(0) else { return nil }
        var ipv4: UInt32 = 0
        if inet_pton(AF_INET, text, &ipv4) == 1 {
            self = .v4(UInt32(bigEndian: ipv4))
            return
        }
        var ipv6: (UInt64, UInt64) = (0, 0)
        guard withUnsafeMutableBytes(of: &ipv6, { inet_pton(AF_INET6, text, $0.baseAddress) }) == 1 else {
            return nil
        }
        self = .v6(high: UInt64(bigEndian: ipv6.0), low: UInt64(bigEndian: ipv6.1))
    }
}

extension IPAddress: CustomStringConvertible {
    /// The canonical text: dotted decimal, or RFC 5952 (lower case, longest run of zeros shortened, the first
    /// of equals).
    package var description: String {
        switch self {
        case .v4(let bits): Self.dotted(bits)
        case .v6(let high, let low): Self.canonical(high: high, low: low)
        }
    }

    private static func dotted(_ bits: UInt32) -> String {
        "\(bits >> 24).\(bits >> 16 & 0xff).\(bits >> 8 & 0xff).\(bits & 0xff)"
    }

    private static func canonical(high: UInt64, low: UInt64) -> String {
        if case .v4(let bits) = IPAddress.v6(high: high, low: low).unmapped {
            return "::ffff:" + dotted(bits)
        }
        let groups = (0..<8).map { index in
            UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> (48 - 16 * (index % 4)))
        }
        func text(_ part: ArraySlice<UInt16>) -> String {
            part.map { String($0, radix: 16) }.joined(separator: ":")
        }
        // A single zero group is not shortened (RFC 5952 §4.2.2).
        guard let run = longestZeroRun(groups), run.count >= 2 else { return text(groups[...]) }
        return text(groups[..<run.lowerBound]) + "::" + text(groups[run.upperBound...])
    }

    private static func longestZeroRun(_ groups: [UInt16]) -> Range<Int>? {
        var longest: Range<Int>?
        var start = 0
        for index in 0...groups.count where index == groups.count || groups[index] != 0 {
            if index - start > longest?.count ?? 0 { longest = start..<index }
            start = index + 1
        }
        return longest
    }
}

extension IPAddress: Comparable {
    /// IPv4 before IPv6, then by number.
    package static func < (left: IPAddress, right: IPAddress) -> Bool {
        switch (left, right) {
        case (.v4(let a), .v4(let b)): a < b
        case (.v4, .v6): true
        case (.v6, .v4): false
        case (.v6(let aHigh, let aLow), .v6(let bHigh, let bLow)): (aHigh, aLow) < (bHigh, bLow)
        }
    }
}

extension IPAddress: Codable {
    /// Reads the text form; anything else is a `DecodingError` that quotes it.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let address = IPAddress(text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "\"\(text)\" is not an IPv4 or IPv6 address")
        }
        self = address
    }

    /// Writes the canonical text.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
