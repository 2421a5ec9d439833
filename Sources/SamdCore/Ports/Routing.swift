package import CaddyConfig
package import PortWatcher
import ProcFS

/// Why a listening port is not published, and what would change that.
package struct Refusal: Sendable, Equatable {
    package var reason: String
    package var hint: String?
    /// Whether the port's owner may wonder. Random ports and Caddy's own come and go without a word.
    package var isSurprising = true
}

/// What becomes of one listening port.
package enum PortDecision: Sendable, Equatable {
    /// It has a route.
    case published(host: String, url: String)
    /// Another listener on the same port number has the route.
    case covered(by: String)
    /// Policy keeps it private.
    case refused(Refusal)
}

/// A listening port with what was decided about it.
package struct RoutedPort: Sendable, Equatable {
    package var listening: ListeningPort
    package var decision: PortDecision
}

/// All listening ports with their decisions, and the routes that follow.
package struct RoutingTable: Sendable, Equatable {
    /// Sorted by port number, then address.
    package var ports: [RoutedPort] = []
    /// One per published port number, sorted by it.
    package var routes: [Route] = []

    package init() {}
}

/// Listening ports + policy → routes. Pure.
package enum Routing {
    /// Decides every port and makes the routes of those that are published.
    package static func table(for listening: [ListeningPort], policy: RoutingPolicy) -> RoutingTable {
        var table = RoutingTable()
        var published = 0
        let groups = Dictionary(grouping: listening, by: \.identity.port).sorted { $0.key < $1.key }
        for (port, group) in groups {
            let sorted = group.sorted { preference($0) < preference($1) }
            var chosen: ListeningPort?
            for listener in sorted {
                if let refusal = refusal(of: listener, policy: policy) {
                    table.ports.append(RoutedPort(listening: listener, decision: .refused(refusal)))
                } else if let chosen {
                    table.ports.append(
                        RoutedPort(listening: listener, decision: .covered(by: "\(chosen.identity.address)")))
                } else if published >= policy.limit {
                    table.ports.append(
                        RoutedPort(listening: listener, decision: .refused(overLimit(policy.limit))))
                } else {
                    chosen = listener
                    published += 1
                    let host = policy.host(for: port)
                    table.ports.append(
                        RoutedPort(
                            listening: listener, decision: .published(host: host, url: policy.url(for: host)))
                    )
                    table.routes.append(route(for: listener, host: host))
                }
            }
        }
        return table
    }

    private static func route(for listener: ListeningPort, host: String) -> Route {
        let port = listener.identity.port
        return Route(
            id: "p\(port)", hosts: [host], upstream: dialAddress(of: listener),
            upstreamHost: "localhost:\(port)",
            isPublic: false)
    }

    /// The address that reaches exactly this listener from the host: a wildcard listener is dialled on its family's loopback.
    static func dialAddress(of listener: ListeningPort) -> String {
        let port = listener.identity.port
        let address = listener.identity.address.unmapped
        if address.isUnspecified { return address.isIPv6 ? "[::1]:\(port)" : "127.0.0.1:\(port)" }
        return address.isIPv6 ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    /// Of several listeners on one number the most local one is dialled: loopback before wildcard before others, IPv4 first.
    private static func preference(_ listener: ListeningPort) -> (Int, Int, String) {
        let address = listener.identity.address.unmapped
        let locality = address.isLoopback ? 0 : address.isUnspecified ? 1 : 2
        return (locality, address.isIPv6 ? 1 : 0, "\(address)")
    }

    private static func refusal(of listener: ListeningPort, policy: RoutingPolicy) -> Refusal? {
        let port = listener.identity.port
        let uid = listener.identity.ownerUID
        if policy.reserved.contains(port) {
            return Refusal(reason: "Caddy itself listens here for samd", hint: nil, isSurprising: false)
        }
        guard policy.owners.contains(uid) else { return foreignOwner(uid, policy: policy) }
        if port < policy.min {
            return Refusal(
                reason: "port numbers below \(policy.min) are not offered",
                hint: "lower ports.min to offer it")
        }
        if policy.deny.contains(port) {
            return Refusal(
                reason: "on the list of ports that speak no HTTP or open a door to the machine (ports.deny)",
                hint: "set ports.deny without \(port) if it is a web server")
        }
        if policy.ignore.contains(port) {
            return Refusal(reason: "listed in ports.ignore", hint: "remove it there to offer it")
        }
        if policy.ephemeral.contains(port), !policy.allowEphemeral.contains(port) {
            let range = "\(policy.ephemeral.lowerBound)-\(policy.ephemeral.upperBound)"
            return Refusal(
                reason: "in the kernel's ephemeral range \(range), where numbers are given out at random",
                hint:
                    "add \(port) to ports.allow_ephemeral, or listen on a fixed port below \(policy.ephemeral.lowerBound)",
                isSurprising: false)
        }
        return nil
    }

    private static func foreignOwner(_ uid: UInt32, policy: RoutingPolicy) -> Refusal {
        switch policy.owners {
        case .loginUsers:
            Refusal(
                reason: "its owner (uid \(uid)) is not a login user",
                hint: "name the owner in workspace.owners to offer its ports")
        case .listed(_, let names):
            Refusal(
                reason:
                    "its owner (uid \(uid)) is not one of the workspace's: \(names.joined(separator: ", "))",
                hint: "add the owner to workspace.owners to offer its ports")
        }
    }

    private static func overLimit(_ limit: Int) -> Refusal {
        Refusal(
            reason: "\(limit) ports are published already",
            hint: "end servers that are not needed, or raise ports.limit")
    }
}
