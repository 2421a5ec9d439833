// NamespaceRelay: unix sockets on the host for listeners that only their own network namespace can reach.
//
// A relay is a listening unix socket and a target; a connection is a pair of sockets, the outer one (unix, on the
// host) and the inner one (TCP, made inside the namespace). Two threads exist while there is anything to relay: one
// copies bytes for all connections, the other enters namespaces.

/// One listener inside a network namespace that gets a unix socket on the host.
package struct RelayTarget: Hashable, Sendable {
    /// The socket's file name without `.sock`: unique, `[a-z0-9.:-]+`, stable across restarts.
    package var name: String
    /// The inode of the network namespace; what `entrance` leads to must have it.
    package var namespace: UInt64
    /// The path of the namespace's file: `/proc/PID/ns/net` or a mount of it.
    package var entrance: String
    /// The numeric address to dial inside, IPv4 or IPv6 without zone: `127.0.0.1`, `::1`.
    package var address: String
    /// The port to dial inside.
    package var port: UInt16

    /// Creates a target from its parts.
    package init(name: String, namespace: UInt64, entrance: String, address: String, port: UInt16) {
        self.name = name
        self.namespace = namespace
        self.entrance = entrance
        self.address = address
        self.port = port
    }
}

extension RelayTarget {
    /// Whether both lead to the same listener; the ways into its namespace may differ.
    func isSamePlace(as other: RelayTarget) -> Bool {
        (name, namespace, address, port) == (other.name, other.namespace, other.address, other.port)
    }
}

/// What one relay did since it listens.
package struct RelayStatistics: Sendable, Equatable {
    /// Connections that are open now, also those still being connected.
    package var openConnections = 0
    /// Connections that reached the listener inside.
    package var connections: UInt64 = 0
    /// Connections that were closed without reaching it: wrong user, too many, refused inside.
    package var refused: UInt64 = 0
    /// Bytes carried into the namespace.
    package var bytesIn: UInt64 = 0
    /// Bytes carried out of it.
    package var bytesOut: UInt64 = 0

    /// Nothing done yet.
    package init() {}

    /// Adds another relay's counts; of its open connections none, they end with it or are counted with it.
    mutating func add(_ other: RelayStatistics) {
        connections &+= other.connections
        refused &+= other.refused
        bytesIn &+= other.bytesIn
        bytesOut &+= other.bytesOut
    }
}
