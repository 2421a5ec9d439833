/// One IPv4 route of a namespace's main table.
package struct IPv4Route: Hashable, Sendable {
    /// The device, at most 15 bytes.
    package var device: String
    /// The network, the first octet in the highest byte.
    package var destination: UInt32
    /// Its mask in the same order.
    package var mask: UInt32
    /// Whether packets go to a gateway, or nowhere, rather than straight to the address.
    package var isIndirect: Bool
    /// Of two routes to one network the one with the lower number counts.
    package var metric: UInt64

    /// Creates a route from its parts.
    package init(device: String, destination: UInt32, mask: UInt32, isIndirect: Bool, metric: UInt64 = 0) {
        self.device = device
        self.destination = destination
        self.mask = mask
        self.isIndirect = isIndirect
        self.metric = metric
    }
}

/// Reads the text of `net/route`: pure.
package enum RouteTableParser {
    /// Routes that are kept.
    package static let routeLimit = 4096
    /// IFNAMSIZ without its NUL.
    private static let deviceLimitBytes = 15

    /// The routes that are up, in the table's order; lines of another shape, such as the header, are passed over.
    /// `nil` if there are more than `routeLimit`: the one that counts might be among the rest.
    package static func parse(_ text: Span<UInt8>) -> [IPv4Route]? {
        var routes: [IPv4Route] = []
        forEachLine(of: text) { line in
            if let route = route(text, line) { routes.append(route) }
            return routes.count <= routeLimit
        }
        return routes.count <= routeLimit ? routes : nil
    }

    /// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`; the kernel prints addresses, which it holds in
    /// network order, as numbers of this machine.
    private static func route(_ text: Span<UInt8>, _ line: Range<Int>) -> IPv4Route? {
        var fields = Fields(in: line)
        guard let device = fields.next(text), device.count <= deviceLimitBytes,
            let destination = fields.next(text), destination.count == 8,
            let destination = text.hexadecimal32(destination),
            let gateway = fields.next(text).flatMap({ text.hexadecimal32($0) }),
            let flags = fields.next(text).flatMap({ text.hexadecimal32($0) }), fields.skip(2, text),
            let metric = fields.next(text).flatMap({ text.decimal($0) }),
            let mask = fields.next(text).flatMap({ text.hexadecimal32($0) }),
            let name = String(validating: text.array(device), as: UTF8.self)
        else { return nil }
        // RTF_UP, RTF_GATEWAY, RTF_REJECT of linux/route.h.
        guard flags & 0x1 != 0 else { return nil }
        return IPv4Route(
            device: name, destination: UInt32(bigEndian: destination), mask: UInt32(bigEndian: mask),
            isIndirect: gateway != 0 || flags & (0x2 | 0x200) != 0, metric: metric)
    }
}
