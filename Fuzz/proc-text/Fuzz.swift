// Feeds bytes to the parsers of small /proc texts. Beyond not trapping they must keep these promises:
//   - results stay within their bounds;
//   - what was read, written the way the kernel writes it, is read back as the same value.
//
// The first byte chooses the parser, the rest is its text.

enum Promise {
    static func check(_ input: UnsafeRawBufferPointer) {
        guard let selector = input.first else { return }
        let text = Array(input.dropFirst())
        switch selector {
        case UInt8(ascii: "m"): mounts(text)
        case UInt8(ascii: "f"): addresses(text)
        case UInt8(ascii: "r"): routes(text)
        case UInt8(ascii: "s"): stat(text)
        case UInt8(ascii: "c"): controlGroups(text)
        case UInt8(ascii: "a"): commands(text)
        default: numbers(text)
        }
    }

    private static func mounts(_ text: [UInt8]) {
        let found = MountInfoParser.networkNamespaces(text.span)
        precondition(found.count <= MountInfoParser.namespaceLimit)
        precondition(Set(found.map(\.inode)).count == found.count)
        for mount in found {
            precondition(mount.path.utf8.first == UInt8(ascii: "/") && !mount.path.utf8.contains(0))
            let escaped = mount.path.utf8.map { byte in
                switch byte {
                case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\n"), UInt8(ascii: "\\"):
                    "\\\(byte >> 6)\(byte >> 3 & 7)\(byte & 7)".utf8.map { $0 }
                default: [byte]
                }
            }
            let line =
                Array("1 2 0:4 net:[\(mount.inode)] ".utf8) + escaped.joined()
                + Array(" rw - nsfs nsfs rw\n".utf8)
            precondition(MountInfoParser.networkNamespaces(line.span) == [mount])
        }
    }

    private static func addresses(_ text: [UInt8]) {
        let found = FIBTrieParser.localAddresses(text.span)
        precondition(found.count <= FIBTrieParser.addressLimit)
        for address in found {
            precondition(!address.isIPv6 && !address.isLoopback)
            let lines = Array("Local:\n  |-- \(address)\n     /32 host LOCAL\n".utf8)
            precondition(FIBTrieParser.localAddresses(lines.span) == [address])
        }
    }

    private static func routes(_ text: [UInt8]) {
        guard let found = RouteTableParser.parse(text.span) else { return }
        precondition(found.count <= RouteTableParser.routeLimit)
        for route in found {
            let columns = [
                route.device, hexadecimal(route.destination.bigEndian), "00000000",
                route.isIndirect ? "0003" : "0001", "0",
                "0", "\(route.metric)", hexadecimal(route.mask.bigEndian), "0",
            ]
            precondition(RouteTableParser.parse(Array(columns.joined(separator: "\t").utf8).span) == [route])
        }
    }

    private static func stat(_ text: [UInt8]) {
        guard let stat = ProcessStat(text.span) else { return }
        let rest = [String](repeating: "0", count: 15).joined(separator: " ")
        let line =
            Array("7 (a) b) ".utf8) + [stat.state]
            + Array(" \(stat.parent) 0 \(stat.session) \(rest) \(stat.startTime)\n".utf8)
        precondition(ProcessStat(line.span) == stat)
    }

    private static func controlGroups(_ text: [UInt8]) {
        let paths = ProcText.controlGroups(text.span)
        precondition(paths.count <= 32)
        for path in paths {
            bounds(ContainerEvidence.claim(cgroup: path, own: nil))
            bounds(ContainerEvidence.claim(cgroup: path, own: paths.first))
            precondition(ContainerEvidence.claim(cgroup: path, own: path) == nil)
        }
    }

    private static func commands(_ text: [UInt8]) {
        let command = text.split(separator: 0, omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        for monitor in ["conmon", "containerd-shim", "systemd-nspawn", "lxc-start"] {
            bounds(ContainerEvidence.claim(monitor: monitor, command: command))
        }
    }

    private static func numbers(_ text: [UInt8]) {
        if let users = ProcText.users(text.span) {
            let line = Array("Uid:\t\(users.real)\t\(users.effective)\t0\t0\n".utf8)
            precondition(ProcText.users(line.span).map { $0 == users } == true)
        }
        for table in TCPTable.allCases {
            guard let count = ProcText.socketsInUse(text.span, in: table) else { continue }
            let line = Array("\(table == .ipv4 ? "TCP" : "TCP6"): inuse \(count)\n".utf8)
            precondition(ProcText.socketsInUse(line.span, in: table) == count)
        }
    }

    private static func bounds(_ claim: ContainerEvidence.Claim?) {
        precondition((claim?.id.utf8.count ?? 0) <= Container.textLimitBytes)
        precondition((claim?.name?.utf8.count ?? 0) <= Container.textLimitBytes)
    }

    private static func hexadecimal(_ value: UInt32) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafeRawPointer?, _ count: Int) -> CInt {
    Promise.check(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}
