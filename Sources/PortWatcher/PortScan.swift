package import Containers
package import ProcFS

/// What one look at the network namespaces of the machine showed.
package struct PortScan: Sendable, Equatable {
    /// One listening socket and what is behind it.
    package struct Observation: Sendable, Equatable {
        /// The inode of the network namespace.
        package var namespace: UInt64
        /// The row of the table.
        package var listener: TCPListener
        /// The process that holds it, if it could be found.
        package var process: OwnerProcess?
        /// See `ListeningPort.container`.
        package var container: Container?
        /// See `ListeningPort.isForwarder`.
        package var isForwarder: Bool
        /// See `ListeningPort.entrance`.
        package var entrance: NamespaceEntrance?
        /// See `ListeningPort.hostAddress`.
        package var hostAddress: IPAddress?

        /// Creates an observation from its parts.
        package init(
            namespace: UInt64, listener: TCPListener, process: OwnerProcess? = nil,
            container: Container? = nil,
            isForwarder: Bool = false, entrance: NamespaceEntrance? = nil, hostAddress: IPAddress? = nil
        ) {
            self.namespace = namespace
            self.listener = listener
            self.process = process
            self.container = container
            self.isForwarder = isForwarder
            self.entrance = entrance
            self.hostAddress = hostAddress
        }
    }

    /// A table of one namespace.
    package struct Place: Hashable, Sendable {
        /// The inode of the network namespace.
        package var namespace: UInt64
        /// Which of its tables.
        package var table: TCPTable

        /// Names a table.
        package init(namespace: UInt64, table: TCPTable) {
            self.namespace = namespace
            self.table = table
        }
    }

    /// Why a table does not prove that a listener is gone.
    package enum Gap: Sendable, Equatable {
        /// The table could not be read: nothing in it was seen.
        case unreadable(ProcFSError)
        /// Some rows could not be read; the first of them.
        case malformed(rows: Int, first: MalformedRow)

        /// Whether it is a matter of rights.
        var isDenial: Bool {
            if case .unreadable(let error) = self, case .denied = error.cause { true } else { false }
        }
    }

    /// The inode of the daemon's own network namespace; 0 if not even that could be read.
    package var ownNamespace: UInt64
    /// The sockets that listen.
    package var observations: [Observation]
    /// The namespaces that were looked at, those with gaps included.
    package var namespaces: Set<UInt64>
    /// Namespaces beyond the bound: they exist, but were not looked at.
    package var unreadNamespaces: Set<UInt64>
    /// Whether a namespace that is in neither set is gone.
    package var knowsAllNamespaces: Bool
    /// Namespaces that nothing of the last scan lives in any more: the kernel gave the inode of one that is gone to a new
    /// one.
    package var renewedNamespaces: Set<UInt64>
    /// The tables that could not be read whole.
    package var gaps: [Place: Gap]
    /// Sockets that were seen before, are not there now, and whose server is likely to open another soon.
    package var mayReturn: Set<UInt64>
    /// Listeners without a known owner because some process may not be looked at.
    package var hiddenOwnerCount: Int

    /// Creates a scan from its parts.
    package init(
        ownNamespace: UInt64, observations: [Observation], namespaces: Set<UInt64>? = nil,
        unreadNamespaces: Set<UInt64> = [], knowsAllNamespaces: Bool = true,
        renewedNamespaces: Set<UInt64> = [],
        gaps: [Place: Gap] = [:], mayReturn: Set<UInt64> = [], hiddenOwnerCount: Int = 0
    ) {
        self.ownNamespace = ownNamespace
        self.observations = observations
        self.namespaces = namespaces ?? [ownNamespace]
        self.unreadNamespaces = unreadNamespaces
        self.knowsAllNamespaces = knowsAllNamespaces
        self.renewedNamespaces = renewedNamespaces
        self.gaps = gaps
        self.mayReturn = mayReturn
        self.hiddenOwnerCount = hiddenOwnerCount
    }

    /// A scan that could read nothing at all.
    package init(failure: ProcFSError) {
        let gaps = TCPTable.allCases.map { (Place(namespace: 0, table: $0), Gap.unreadable(failure)) }
        self.init(
            ownNamespace: 0, observations: [], namespaces: [], knowsAllNamespaces: false,
            gaps: Dictionary(uniqueKeysWithValues: gaps))
    }

    /// Whether no table of the daemon's own namespace could be read: not an empty answer, but none.
    package var sawNothing: Bool {
        TCPTable.allCases.allSatisfy { table in
            if case .unreadable = gaps[Place(namespace: ownNamespace, table: table)] { true } else { false }
        }
    }

    /// What the absence of a listener from `observations` says.
    enum Absence { case unproven, absent, namespaceGone }

    /// What follows for a listener of `place` that is not in `observations`.
    func absence(at place: Place) -> Absence {
        if namespaces.contains(place.namespace) {
            // Only a whole table proves that something is not in it.
            return gaps[place] == nil ? .absent : .unproven
        }
        return knowsAllNamespaces && !unreadNamespaces.contains(place.namespace) ? .namespaceGone : .unproven
    }
}
