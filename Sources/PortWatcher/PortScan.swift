package import ProcFS

/// What one look at a network namespace showed.
package struct PortScan: Sendable, Equatable {
    /// One listening socket and the process behind it.
    package struct Observation: Sendable, Equatable {
        /// The row of the table.
        package var listener: TCPListener
        /// The process that holds it, if it could be found.
        package var process: OwnerProcess?

        /// Creates an observation from its parts.
        package init(listener: TCPListener, process: OwnerProcess? = nil) {
            self.listener = listener
            self.process = process
        }
    }

    /// Why a table does not prove that a listener is gone.
    package enum Gap: Sendable, Equatable {
        /// The table could not be read: nothing in it was seen.
        case unreadable(ProcFSError)
        /// Some rows could not be read; the first of them.
        case malformed(rows: Int, first: MalformedRow)
    }

    /// The inode of the network namespace.
    package var namespace: UInt64
    /// The sockets that listen.
    package var observations: [Observation]
    /// The tables that could not be read whole.
    package var gaps: [TCPTable: Gap]
    /// Listeners without a known owner because some process may not be looked at.
    package var hiddenOwnerCount: Int

    /// Creates a scan from its parts.
    package init(
        namespace: UInt64, observations: [Observation], gaps: [TCPTable: Gap] = [:], hiddenOwnerCount: Int = 0
    ) {
        self.namespace = namespace
        self.observations = observations
        self.gaps = gaps
        self.hiddenOwnerCount = hiddenOwnerCount
    }

    /// Whether no table could be read at all: not an empty answer, but none.
    package var sawNothing: Bool {
        TCPTable.allCases.allSatisfy { table in
            if case .unreadable = gaps[table] { true } else { false }
        }
    }
}
