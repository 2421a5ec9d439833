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

    var isPublished: Bool { if case .published = decision { true } else { false } }
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

    /// Takes back the route that needs a relay which is not there yet; its port stays decided.
    mutating func postpone(_ request: RelayRequest) {
        routes.removeAll { $0.id == request.routeID }
    }

    /// Takes back the route that needs a relay which cannot be had.
    mutating func refuse(_ request: RelayRequest, _ refusal: Refusal) {
        postpone(request)
        for index in ports.indices where ports[index].listening.identity == request.listening.identity {
            ports[index].decision = .refused(refusal)
        }
    }
}

/// Listening ports + policy + overrides → routes. Pure.
package enum Routing {
    /// Decides every port and makes the routes of those that are published. Who is there already keeps name and route: they go to
    /// others only when he is gone.
    ///
    /// - Parameter since: when a listener was first seen, as text that sorts, also across restarts of the daemon.
    package static func table(
        for listening: [ListeningPort], policy: RoutingPolicy, overrides: PortOverrides = PortOverrides(),
        since: (ListeningPort) -> String = { _ in "" }
    ) -> RoutingTable {
        var table = RoutingTable()
        var names = Set<String>()
        let ages = Dictionary(
            listening.map { ($0.identity, Age(since: since($0), firstSeen: $0.firstSeen)) },
            uniquingKeysWith: { first, _ in first })
        let groups = Dictionary(grouping: listening, by: \.identity.port).sorted { $0.key < $1.key }
        for (_, group) in groups {
            // The machine's own listeners first: of equal numbers theirs has the plain name. Then who came first.
            let places = Dictionary(grouping: group, by: \.identity.namespace).values
                .compactMap { Place($0, ages: ages) }
            for place in places.sorted() {
                decide(place.listeners, policy: policy, overrides: overrides, names: &names, into: &table)
            }
        }
        keepTheOldest(policy.limit, of: &table, ages: ages)
        return table
    }

    /// How long a listener has been there.
    private struct Age: Comparable {
        let since: String
        let firstSeen: SuspendingClock.Instant

        static func < (left: Age, right: Age) -> Bool {
            (left.since, left.firstSeen) < (right.since, right.firstSeen)
        }
    }

    /// Refuses what is beyond the limit, the newest first; of those that came together the higher numbers.
    private static func keepTheOldest(
        _ limit: Int, of table: inout RoutingTable, ages: [PortIdentity: Age]
    ) {
        guard table.routes.count > limit else { return }
        let published = table.ports.indices.filter { table.ports[$0].isPublished }
        let byAge = published.sorted { left, right in
            let (a, b) = (table.ports[left].listening.identity, table.ports[right].listening.identity)
            guard let ageA = ages[a], let ageB = ages[b], ageA != ageB else { return a < b }
            return ageA < ageB
        }
        for index in byAge.dropFirst(limit) {
            let id = "p\(table.ports[index].name)"
            table.ports[index].decision = .refused(Refusals.overLimit(limit))
            table.routes.removeAll { $0.id == id }
            table.relays.removeAll { $0.routeID == id }
        }
    }

    /// The listeners on one number in one network namespace.
    private struct Place: Comparable {
        let isForeign: Bool
        let earliest: Age
        let namespace: UInt64
        let listeners: [ListeningPort]

        init?(_ listeners: [ListeningPort], ages: [PortIdentity: Age]) {
            func age(_ listener: ListeningPort) -> Age {
                ages[listener.identity] ?? Age(since: "", firstSeen: listener.firstSeen)
            }
            // Of several listeners on one number the oldest has the route, and of those that came together the most local.
            self.listeners = listeners.sorted {
                age($0) != age($1) ? age($0) < age($1) : preference($0) < preference($1)
            }
            guard let first = self.listeners.first else { return nil }
            isForeign = first.entrance != nil
            earliest = age(first)
            namespace = first.identity.namespace
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
        for listener in listeners {
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

    /// The most local one is dialled: loopback before wildcard before others, IPv4 first.
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
