// PortWatcher: which ports are listened on, in every network namespace of the machine, told within milliseconds.
//
//   KernelEventSource ─ wakes ─┐
//   ScanSchedule (pure) ─ when ─► PortWatchService ─ scans ─► PortScanner ─► PortChanges (pure) ─► onChange
//
//   PortScanner: NamespaceCensus     which process lives in which namespace
//                TableReader         the tables of a namespace, through a process; NamespaceVisit through a mount
//                OwnerRegistry       the process behind each socket, and whether it is likely to listen again
//                ListenerAttribution the container of a process, or that it forwards to (ContainerFinder)
//                DirectWays          where this machine reaches a container's listener
//
// The kernel's events only wake: the truth is always a whole reading of the tables.

package import Containers
package import ProcFS

/// What makes one listener the same one over time: who listens, where. The process may change (a restart);
/// another user on the same number is another identity.
package struct PortIdentity: Hashable, Sendable, Codable {
    /// The inode of the network namespace.
    package var namespace: UInt64
    /// The user who made the socket.
    package var ownerUID: UInt32
    /// The local address, IPv4-mapped ones as IPv4.
    package var address: IPAddress
    /// The local port.
    package var port: UInt16

    /// Creates an identity from its parts.
    package init(namespace: UInt64, ownerUID: UInt32, address: IPAddress, port: UInt16) {
        self.namespace = namespace
        self.ownerUID = ownerUID
        self.address = address
        self.port = port
    }
}

extension PortIdentity: Comparable {
    /// By port, then address, owner and namespace.
    package static func < (left: PortIdentity, right: PortIdentity) -> Bool {
        (left.port, left.address, left.ownerUID, left.namespace)
            < (right.port, right.address, right.ownerUID, right.namespace)
    }
}

/// The process that holds a listening socket; of several, the one that started last. Text in it comes from
/// the process itself and is not to be trusted.
package struct OwnerProcess: Hashable, Sendable {
    /// The process id in the namespace of /proc.
    package var pid: Int32
    /// When it started, in clock ticks since boot; with the pid it names one process for ever.
    package var startTime: UInt64
    /// The arguments, at most `ProcFileSystem.commandLimitBytes`; empty if they could not be read.
    package var command: [String]
    /// The name of the main thread (`comm`), at most 15 bytes; empty if it could not be read.
    package var executable: String
    /// The working directory in the process's own mount namespace, if it could be read.
    package var cwd: String?
    /// The path in the cgroup v2 tree, if it is in one.
    package var cgroup: String?

    /// Creates a process from its parts.
    package init(
        pid: Int32, startTime: UInt64, command: [String], executable: String, cwd: String? = nil,
        cgroup: String? = nil
    ) {
        self.pid = pid
        self.startTime = startTime
        self.command = command
        self.executable = executable
        self.cwd = cwd
        self.cgroup = cgroup
    }
}

/// One port that is listened on.
package struct ListeningPort: Sendable, Equatable {
    /// Who listens where.
    package var identity: PortIdentity
    /// The process behind it; `nil` if it could not be found or may not be looked at.
    package var process: OwnerProcess?
    /// When this identity was first seen; a restart of the server within the removal delay does not change
    /// it.
    package var firstSeen: SuspendingClock.Instant
    /// The inode of the socket; of several that share the identity (SO_REUSEPORT), one.
    package var inode: UInt64
    /// The container that the listener belongs to, or forwards to; `nil` for a process of this machine itself.
    package var container: Container?
    /// Whether a runtime's helper (docker-proxy, conmon, rootlessport, slirp4netns, pasta) listens here for `container`.
    package var isForwarder: Bool
    /// How its network namespace is entered; `nil` for the daemon's own. Stays the same while it leads there.
    package var entrance: NamespaceEntrance?
    /// For a listener of another namespace: the IPv4 address at which this machine reaches exactly this listener
    /// without entering its namespace; `nil` if there is none. Always `nil` in the daemon's own namespace.
    package var hostAddress: IPAddress?

    /// Creates a port from its parts.
    package init(
        identity: PortIdentity, process: OwnerProcess?, firstSeen: SuspendingClock.Instant, inode: UInt64,
        container: Container? = nil, isForwarder: Bool = false, entrance: NamespaceEntrance? = nil,
        hostAddress: IPAddress? = nil
    ) {
        self.identity = identity
        self.process = process
        self.firstSeen = firstSeen
        self.inode = inode
        self.container = container
        self.isForwarder = isForwarder
        self.entrance = entrance
        self.hostAddress = hostAddress
    }
}

/// What makes the watcher look.
package enum WakeUpSource: Sendable, Equatable {
    /// The kernel's tracepoint: new ports are seen within milliseconds.
    case kernelEvents
    /// A timer. `reason` says why not the kernel, and what to do about it.
    case polling(reason: String)
}
