// SocketDiagnostics: ends open TCP connections by way of the kernel's sock_diag(7), as `ss -K` does.
//
// A proxy keeps connections that are under way (websockets above all) when their route goes. Ending its own side of
// them is the only way to take back what was handed out.

internal import Glibc
package import ProcFS

/// Ends connections of other processes.
package struct SocketDiagnostics: Sendable {
    /// Descriptors of the process that are looked at.
    private static let descriptorLimit = 65_536
    /// Sockets that are ended by one call.
    private static let socketLimit = 65_536
    /// How often a dump is repeated that the kernel calls interrupted.
    private static let attempts = 3

    private let procfs: ProcFileSystem

    /// - Parameter procfs: where processes are looked up.
    package init(procfs: ProcFileSystem = ProcFileSystem()) {
        self.procfs = procfs
    }

    /// Ends the established TCP connections of this network namespace whose remote end is `address`:`port` and whose local
    /// socket the process `pid` holds; that side reads an error (ECONNABORTED), the other one a reset.
    ///
    /// IPv6 sockets that are connected to the IPv4-mapped form count. Needs CAP_NET_ADMIN, CAP_SYS_PTRACE for other
    /// users' processes, and CONFIG_INET_DIAG_DESTROY. Connections that begin meanwhile may be missed. Blocks for
    /// milliseconds.
    ///
    /// - Returns: how many were ended; 0 when the process is gone.
    package func endConnections(
        to address: IPAddress, port: UInt16, heldBy pid: Int32
    ) throws(SocketDiagnosticsError) -> Int {
        let subject =
            address.isIPv6 ? "connections to [\(address)]:\(port)" : "connections to \(address):\(port)"
        guard let held = try inodes(of: pid, subject), !held.isEmpty else { return 0 }
        var netlink: NetlinkSocket
        do throws(Errno) {
            netlink = try NetlinkSocket()
        } catch {
            throw Self.error("list", subject, error)
        }
        // An IPv6 socket may be connected to an IPv4 address, but not the other way round.
        let wanted = address.unmapped
        var ended = 0
        var sequence: UInt32 = 1
        for family in wanted.isIPv6 ? [AF_INET6] : [AF_INET, AF_INET6] {
            for socket in try list(
                family: UInt8(family), port, subject, &netlink, &sequence,
                where: { $0.remote.unmapped == wanted && held.contains($0.inode) })
            {
                if try end(socket, subject, &netlink, &sequence) { ended += 1 }
            }
        }
        return ended
    }

    private func inodes(of pid: Int32, _ subject: String) throws(SocketDiagnosticsError) -> Set<UInt64>? {
        var budget = Self.descriptorLimit
        do throws(ProcFSError) {
            return try procfs.sockets(of: pid, budget: &budget).map { Set($0.keys) }
        } catch {
            throw SocketDiagnosticsError("list", subject, .process(error))
        }
    }

    /// The sockets with that remote port that are wanted.
    private func list(
        family: UInt8, _ port: UInt16, _ subject: String, _ netlink: inout NetlinkSocket,
        _ sequence: inout UInt32, where isWanted: (DiagnosedSocket) -> Bool
    ) throws(SocketDiagnosticsError) -> [DiagnosedSocket] {
        var found: [DiagnosedSocket] = []
        for _ in 0..<Self.attempts {
            sequence += 1
            found = []
            var isInterrupted = false
            try Self.send(
                DiagnosticMessages.dump(family: family, remotePort: port, sequence: sequence), "list",
                subject,
                netlink)
            reading: while true {
                let batch = try Self.receive("list", subject, &netlink, sequence)
                if batch.isInterrupted { isInterrupted = true }
                for socket in batch.sockets where socket.remotePort == port && found.count < Self.socketLimit
                {
                    if isWanted(socket) { found.append(socket) }
                }
                switch batch.end {
                case .open: continue
                case .done, .status(errno: 0): break reading
                // Without tcp_diag, or IPv6, there is nobody to ask.
                case .status(let errno): throw Self.error("list", subject, Errno(rawValue: errno))
                }
            }
            // What was found in an interrupted dump is true, only not all; the last attempt has to do.
            if !isInterrupted { break }
        }
        return found
    }

    /// False when it ended by itself meanwhile.
    private func end(
        _ socket: DiagnosedSocket, _ subject: String, _ netlink: inout NetlinkSocket, _ sequence: inout UInt32
    ) throws(SocketDiagnosticsError) -> Bool {
        sequence += 1
        try Self.send(DiagnosticMessages.destroy(socket, sequence: sequence), "end", subject, netlink)
        while true {
            let batch = try Self.receive("end", subject, &netlink, sequence)
            switch batch.end {
            case .open: continue
            case .done, .status(errno: 0): return true
            case .status(errno: ENOENT): return false
            case .status(let errno): throw Self.error("end", subject, Errno(rawValue: errno))
            }
        }
    }

    private static func send(
        _ message: [UInt8], _ operation: String, _ subject: String, _ netlink: borrowing NetlinkSocket
    ) throws(SocketDiagnosticsError) {
        do throws(Errno) {
            try netlink.send(message)
        } catch {
            throw Self.error(operation, subject, error)
        }
    }

    private static func receive(
        _ operation: String, _ subject: String, _ netlink: inout NetlinkSocket, _ sequence: UInt32
    ) throws(SocketDiagnosticsError) -> DiagnosticBatch {
        let datagram: ArraySlice<UInt8>
        do throws(Errno) {
            datagram = try netlink.receive()
        } catch {
            throw Self.error(operation, subject, error)
        }
        do throws(MalformedAnswer) {
            return try DiagnosticMessages.parse(datagram, sequence: sequence)
        } catch {
            throw SocketDiagnosticsError(operation, subject, .malformed(error.reason))
        }
    }

    static func error(_ operation: String, _ subject: String, _ errno: Errno) -> SocketDiagnosticsError {
        let cause: SocketDiagnosticsError.Cause =
            switch errno.rawValue {
            case EPERM, EACCES: .denied(errno)
            // A sandbox refuses the address family with the last one, too; its hint names both.
            case EOPNOTSUPP, EPROTONOSUPPORT, ENOENT, EAFNOSUPPORT: .unsupported(errno)
            default: .kernel(errno)
            }
        return SocketDiagnosticsError(operation, subject, cause)
    }
}
