import Glibc
import ProcFS

/// What the daemon's own network namespace says about the way to others.
struct HostNetwork: Equatable {
    var routes: [IPv4Route] = []
    /// The devices among those of the routes that are bridges of this machine.
    var bridges: Set<String> = []
    /// This machine's own addresses; `nil` if they are unknown.
    var addresses: Set<IPAddress>?

    /// Knows no way to anywhere.
    init() {}

    /// Reads routes and devices; what cannot be read leads nowhere.
    init(procfs: ProcFileSystem, sysfsRoot: String) {
        addresses = try? procfs.localAddresses()
        routes = (try? procfs.routes()) ?? []
        bridges = Set(routes.lazy.filter { !$0.isIndirect }.map(\.device)).filter { device in
            device != "." && device != ".." && !device.contains("/")
                && access("\(sysfsRoot)/class/net/\(device)/bridge", F_OK) == 0
        }
    }

    /// Whether packets from here to the address go straight over a bridge of this machine, where only its containers are.
    func reachesOverBridge(_ address: IPAddress) -> Bool {
        guard case .v4(let bits) = address, let addresses, !addresses.contains(address) else { return false }
        let route = routes.lazy.filter { bits & $0.mask == $0.destination }
            .max { ($0.mask, $1.metric) < ($1.mask, $0.metric) }
        guard let route, route.mask != 0 else { return false }
        return !route.isIndirect && bridges.contains(route.device)
    }
}

/// The addresses at which this machine reaches listeners of other namespaces without entering them.
struct DirectWays {
    var host = HostNetwork()
    /// The namespaces with listeners.
    var namespaces: Set<UInt64> = []
    private var claims: [IPAddress: Int] = [:]
    private var wildcards: [UInt64: IPAddress] = [:]

    /// Takes in the addresses that namespaces have.
    mutating func update(from registry: NamespaceRegistry) {
        claims = [:]
        // A user's own namespace may have any address: no packet from here gets there.
        for entry in registry.known.values where entry.isRoots != false {
            for address in entry.addresses ?? [] { claims[address, default: 0] += 1 }
        }
        wildcards = [:]
        for namespace in namespaces {
            wildcards[namespace] = registry[namespace].addresses?.sorted().first { isDirect($0) }
        }
    }

    /// Where this machine reaches exactly this listener; `nil` if there is no such address.
    func address(of listener: TCPListener, in namespace: UInt64, _ known: NamespaceRegistry.Known)
        -> IPAddress?
    {
        // A wildcard of IPv6 may or may not serve IPv4: its row does not say. A namespace that a user made has whatever
        // address the user likes, and no way leads there.
        guard listener.table == .ipv4, known.isRoots == true else { return nil }
        if listener.address.isUnspecified { return wildcards[namespace] }
        let isThere = known.addresses?.contains(listener.address) == true
        return isThere && isDirect(listener.address) ? listener.address : nil
    }

    /// Where two namespaces have one address, it is chance which of them answers.
    private func isDirect(_ address: IPAddress) -> Bool {
        claims[address] == 1 && host.reachesOverBridge(address)
    }
}
