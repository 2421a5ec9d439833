import ProcFS
import Testing

@testable import PortWatcher
@testable import TestSupport

@Suite struct HostNetworkTests {
    private static func network(_ address: String) throws -> UInt32 {
        guard case .v4(let bits) = try #require(IPAddress(address)) else { return 0 }
        return bits
    }

    private func host() throws -> HostNetwork {
        var host = HostNetwork()
        host.routes = [
            IPv4Route(device: "eth0", destination: 0, mask: 0, isIndirect: true),
            IPv4Route(
                device: "eth0", destination: try Self.network("10.0.0.0"), mask: 0xffff_ff00,
                isIndirect: false),
            IPv4Route(
                device: "docker0", destination: try Self.network("172.17.0.0"), mask: 0xffff_0000,
                isIndirect: false),
            IPv4Route(
                device: "wg0", destination: try Self.network("172.17.9.0"), mask: 0xffff_ff00,
                isIndirect: false),
            IPv4Route(
                device: "docker0", destination: try Self.network("172.18.0.0"), mask: 0xffff_0000,
                isIndirect: true),
        ]
        host.bridges = ["docker0"]
        host.addresses = [try #require(IPAddress("172.17.0.1"))]
        return host
    }

    @Test(
        "Only what is behind a bridge of this machine, without a gateway, is reached over it",
        arguments: [
            ("172.17.0.2", true), ("172.17.0.1", false), ("172.17.9.2", false), ("172.18.0.2", false),
            ("10.0.0.7", false), ("8.8.8.8", false), ("fe80::1", false),
        ])
    func reach(address: String, isReached: Bool) throws {
        #expect(try host().reachesOverBridge(#require(IPAddress(address))) == isReached)
        var blind = try host()
        blind.addresses = nil
        #expect(try !blind.reachesOverBridge(#require(IPAddress(address))))
    }

    @Test(
        "Of two routes to one network the lower metric counts; a default route over a bridge leads anywhere")
    func metrics() throws {
        var host = HostNetwork()
        host.addresses = []
        host.bridges = ["br0"]
        let destination = try Self.network("10.1.0.0")
        host.routes = [
            IPv4Route(
                device: "br0", destination: destination, mask: 0xffff_0000, isIndirect: false, metric: 10),
            IPv4Route(
                device: "wg0", destination: destination, mask: 0xffff_0000, isIndirect: false, metric: 5),
            IPv4Route(device: "br0", destination: 0, mask: 0, isIndirect: false),
        ]
        #expect(try !host.reachesOverBridge(#require(IPAddress("10.1.0.1"))))
        #expect(try !host.reachesOverBridge(#require(IPAddress("10.2.0.1"))))
        host.routes.remove(at: 1)
        #expect(try host.reachesOverBridge(#require(IPAddress("10.1.0.1"))))
    }

    @Test("Routes, addresses and bridges are read from proc and sysfs")
    func recorded() throws {
        let tree = try TemporaryTree()
        defer { withExtendedLifetime(tree) {} }
        let header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        let rows = "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        try tree.write(header + rows, to: "proc/self/net/route")
        try tree.write("Local:\n  |-- 172.17.0.1\n     /32 host LOCAL\n", to: "proc/self/net/fib_trie")
        try tree.write("", to: "sys/class/net/docker0/bridge/x")
        let host = HostNetwork(
            procfs: ProcFileSystem(root: "\(tree.root)/proc"), sysfsRoot: "\(tree.root)/sys")
        #expect(try host.reachesOverBridge(#require(IPAddress("172.17.3.4"))))
        #expect(try !host.reachesOverBridge(#require(IPAddress("172.17.0.1"))))
    }
}
