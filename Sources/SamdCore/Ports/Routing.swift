package import CaddyConfig
package import PortWatcher
package import ProcFS

/// Why a listening port is not published, and what would change that.
package struct Refusal: Sendable, Equatable {
    package var reason: String
    package var hint: String?
    /// The command that would publish it, where one would.
    package var command: String?
    /// Whether the port's owner may wonder. Random ports and Caddy's own come and go without a word.
    package var isSurprising = true
}

/// What becomes of one listening port.
package enum PortDecision: Sendable, Equatable {
    /// It has a route; the first host is the one that people are told.
    case published(hosts: [String], access: PortAccess)
    /// Another listener on the same port number has the route.
    case covered(by: String)
    /// Policy keeps it private.
    case refused(Refusal)
}

/// A listening port with what was decided about it.
package struct RoutedPort: Sendable, Equatable {
    package var listening: ListeningPort
    /// `3000`, or `3000-dc1` for a port of a container whose number has the plain name already.
    package var name: String
    package var decision: PortDecision
}

/// A listener that only its own network namespace reaches, and the socket through which Caddy gets there.
package struct RelayRequest: Sendable, Equatable {
    /// The relay's name: of the listener's identity, so that a restarted samd finds the same.
    package var name: String
    package var listening: ListeningPort
    /// What to connect to inside: a wildcard listener is asked on its family's loopback.
    package var address: IPAddress
    /// The route that leads there.
    package var routeID: String
}

/// All listening ports with their decisions, and the routes that follow.
package struct RoutingTable: Sendable, Equatable {
    /// Sorted by port number; within one, the most preferred first.
    package var ports: [RoutedPort] = []
    /// One per published port, sorted by number.
    package var routes: [Route] = []
    /// What the routes need beside Caddy.
    package var relays: [RelayRequest] = []

    package init() {}

    /// Takes back the route that needs a relay which cannot be had.
    mutating func refuse(_ request: RelayRequest, _ refusal: Refusal) {
        routes.removeAll { $0.id == request.routeID }
        for index in ports.indices where ports[index].listening.identity == request.listening.identity {
            ports[index].decision = .refused(refusal)
        }
    }
}

/// Listening ports + policy + overrides → routes. Pure.
package enum Routing {
    /// Decides every port and makes the routes of those that are published.
    package static func table(
        for listening: [ListeningPort], policy: RoutingPolicy, overrides: PortOverrides = PortOverrides()
    ) -> RoutingTable {
        var table = RoutingTable()
        var names = Set<String>()
        let groups = Dictionary(grouping: listening, by: \.identity.port).sorted { $0.key < $1.key }
        for (_, group) in groups {
            // The machine's own listeners first: of equal numbers theirs has the plain name. Then who came first.
            let places = Dictionary(grouping: group, by: \.identity.namespace).values.compactMap(Place.init)
            for place in places.sorted() {
                decide(place.listeners, policy: policy, overrides: overrides, names: &names, into: &table)
            }
        }
        return table
    }

    /// The listeners on one number in one network namespace.
    private struct Place: Comparable {
        let isForeign: Bool
        let earliest: SuspendingClock.Instant
        let namespace: UInt64
        let listeners: [ListeningPort]

        init?(_ listeners: [ListeningPort]) {
            guard let first = listeners.first else { return nil }
            isForeign = first.entrance != nil
            earliest = listeners.map(\.firstSeen).min() ?? first.firstSeen
            namespace = first.identity.namespace
            self.listeners = listeners
        }

        static func < (left: Place, right: Place) -> Bool {
            (left.isForeign ? 1 : 0, left.earliest, left.namespace)
                < (right.isForeign ? 1 : 0, right.earliest, right.namespace)
        }
    }

    /// Decides the listeners on one number in one place: one of them gets the route.
    private static func decide(
        _ listeners: [ListeningPort], policy: RoutingPolicy, overrides: PortOverrides,
        names: inout Set<String>, into table: inout RoutingTable
    ) {
        var chosen: ListeningPort?
        for listener in listeners.sorted(by: { preference($0) < preference($1) }) {
            let port = listener.identity.port
            let override = overrides[listener]
            let plain = "\(port)"
            let long = longName(of: listener, policy: policy)
            let own = long ?? plain
            func add(_ name: String, _ decision: PortDecision) {
                table.ports.append(RoutedPort(listening: listener, name: name, decision: decision))
            }
            if let refusal = Refusals.refusal(of: listener, name: own, override: override, policy: policy) {
                add(own, .refused(refusal))
            } else if let chosen {
                add(own, .covered(by: "\(chosen.identity.address)"))
            } else if table.routes.count >= policy.limit {
                add(own, .refused(Refusals.overLimit(policy.limit)))
            } else {
                let free = [plain, long].compactMap { $0 }.filter { names.insert($0).inserted }
                guard let name = free.first else {
                    add(own, .covered(by: "another container of the same name"))
                    continue
                }
                chosen = listener
                let access: PortAccess = override?.auth == .public && policy.allowPublic ? .public : .basic
                let hosts = policy.hosts(for: free)
                add(name, .published(hosts: hosts, access: access))
                publish(listener, name: name, hosts: hosts, access: access, policy: policy, into: &table)
            }
        }
    }

    private static func publish(
        _ listener: ListeningPort, name: String, hosts: [String], access: PortAccess, policy: RoutingPolicy,
        into table: inout RoutingTable
    ) {
        let port = listener.identity.port
        let upstream: String
        let id = "p\(name)"
        if let address = dialAddress(of: listener) {
            upstream = address
        } else {
            let request = relay(to: listener, routeID: id)
            table.relays.append(request)
            upstream = "unix/\(policy.relayFolder)/\(request.name).sock"
        }
        table.routes.append(
            Route(
                id: id, hosts: hosts, upstream: upstream, upstreamHost: "localhost:\(port)",
                isPublic: access == .public, listener: listener.identity.text))
    }

    private static func longName(of listener: ListeningPort, policy: RoutingPolicy) -> String? {
        guard listener.entrance != nil else { return nil }
        let label = listener.container.map(PortName.label) ?? "ns\(listener.identity.namespace)"
        return PortName.long(
            port: listener.identity.port, container: label, limit: policy.longestPortLabel)
    }

    /// Where this machine reaches exactly this listener: a wildcard listener is dialled on its family's loopback. Nil when
    /// only its own namespace reaches it.
    static func dialAddress(of listener: ListeningPort) -> String? {
        let port = listener.identity.port
        let address: IPAddress
        if listener.entrance == nil {
            address = loopback(for: listener.identity.address)
        } else if let reachable = listener.hostAddress {
            address = reachable
        } else {
            return nil
        }
        return address.isIPv6 ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    private static func relay(to listener: ListeningPort, routeID: String) -> RelayRequest {
        let identity = listener.identity
        let address = loopback(for: identity.address)
        return RelayRequest(name: identity.text, listening: listener, address: address, routeID: routeID)
    }

    private static func loopback(for address: IPAddress) -> IPAddress {
        let address = address.unmapped
        guard address.isUnspecified else { return address }
        return address.isIPv6 ? .loopbackIPv6 : .loopbackIPv4
    }

    /// Of several listeners on one number the most local one is dialled: loopback before wildcard before others, IPv4 first.
    private static func preference(_ listener: ListeningPort) -> (Int, Int, String) {
        let address = listener.identity.address.unmapped
        let locality = address.isLoopback ? 0 : address.isUnspecified ? 1 : 2
        return (locality, address.isIPv6 ? 1 : 0, "\(address)")
    }
}

extension PortIdentity {
    /// One word for files and routes, for example `4026531840-1000-127.0.0.1-3000`.
    var text: String { "\(namespace)-\(ownerUID)-\(address)-\(port)" }
}
