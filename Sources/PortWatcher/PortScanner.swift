import Dispatch
package import ProcFS

/// Looks at one network namespace: its tables, and the processes behind sockets not seen before.
///
/// An actor with its own queue, because every look blocks in the kernel (a large table for 100 ms, a process
/// whose memory is locked for as long as it likes) and must not hold one of the few threads that all tasks
/// share.
package actor PortScanner {
    /// Processes that one scan looks into for new owners, newest first: at 15 µs each, 0.3 s.
    static let processLimit = 20_000
    /// Descriptors that one scan looks at in all, about 1 µs each.
    static let descriptorLimit = 500_000
    /// Scans in a row that look for an owner who cannot be found; later only those that verify.
    static let ownerAttempts = 3

    private enum Owner {
        case found(OwnerProcess)
        case unknown(attempts: Int)
    }

    private let procfs: ProcFileSystem
    private let view: NetworkView
    private let queue = BlockingQueue(label: "samd.ports.scan")
    private var buffer = ReadBuffer()
    private var owners: [UInt64: Owner] = [:]

    /// The queue on which everything here runs.
    package nonisolated var unownedExecutor: UnownedSerialExecutor { queue.asUnownedSerialExecutor() }

    /// Looks through `procfs` at the namespace that `view` names.
    package init(procfs: ProcFileSystem, view: NetworkView = .own) {
        self.procfs = procfs
        self.view = view
    }

    /// Looks once.
    ///
    /// - Parameter verifyingOwners: look again at the owners of known sockets, and for those not found so
    ///   far. Without it a known socket costs no look at any process.
    package func scan(verifyingOwners: Bool = false) -> PortScan {
        let namespace: UInt64
        do throws(ProcFSError) {
            namespace = try procfs.networkNamespace(of: view)
        } catch {
            let gaps = TCPTable.allCases.map { ($0, PortScan.Gap.unreadable(error)) }
            return PortScan(
                namespace: 0, observations: [], gaps: Dictionary(uniqueKeysWithValues: gaps))
        }
        var listeners: [TCPListener] = []
        var gaps: [TCPTable: PortScan.Gap] = [:]
        for table in TCPTable.allCases {
            do throws(ProcFSError) {
                let reading = try procfs.tcpListeners(in: table, of: view, buffer: &buffer)
                listeners += reading?.listeners ?? []
                if let reading, let first = reading.malformedRows.first {
                    gaps[table] = .malformed(rows: reading.malformedCount, first: first)
                }
            } catch {
                gaps[table] = .unreadable(error)
            }
        }
        let wereDenied = updateOwners(
            of: Set(listeners.map(\.inode)), isComplete: gaps.isEmpty, verifying: verifyingOwners)
        let observations = listeners.map {
            PortScan.Observation(listener: $0, process: process(of: $0.inode))
        }
        return PortScan(
            namespace: namespace, observations: observations, gaps: gaps,
            hiddenOwnerCount: wereDenied ? observations.count { $0.process == nil } : 0)
    }

    private var lastWalkWasDenied = false

    private func process(of inode: UInt64) -> OwnerProcess? {
        if case .found(let process) = owners[inode] { process } else { nil }
    }

    /// Brings `owners` up to date and says whether some process may not be looked at.
    private func updateOwners(of inodes: Set<UInt64>, isComplete: Bool, verifying: Bool) -> Bool {
        // An incomplete scan must not forget: the socket would look new the next time.
        if isComplete { owners = owners.filter { inodes.contains($0.key) } }
        if verifying { forgetFormerOwners() }
        let wanted = inodes.filter { inode in
            switch owners[inode] {
            case nil: true
            case .found: false
            case .unknown(let attempts): verifying || attempts < Self.ownerAttempts
            }
        }
        guard !wanted.isEmpty else { return lastWalkWasDenied }
        let (found, wereDenied) = findOwners(of: wanted)
        lastWalkWasDenied = wereDenied
        for inode in wanted {
            if let process = found[inode] {
                owners[inode] = .found(process)
            } else if case .unknown(let attempts) = owners[inode] {
                owners[inode] = .unknown(attempts: attempts + 1)
            } else {
                owners[inode] = .unknown(attempts: 1)
            }
        }
        return wereDenied
    }

    /// Drops owners that ended or closed the socket; it lives on in another process then.
    private func forgetFormerOwners() {
        var budget = Self.descriptorLimit
        for (inode, owner) in owners {
            guard case .found(let process) = owner, budget > 0 else { continue }
            let isAlive = (try? procfs.startTime(of: process.pid)) == process.startTime
            if isAlive, let held = try? procfs.socketInodes(of: process.pid, budget: &budget) {
                // Past the budget a process was looked at in part, which proves nothing.
                if held.contains(inode) || budget <= 0 { continue }
            }
            owners[inode] = nil
        }
    }

    /// Walks the processes downwards and stops at the last missing socket: a server that just came up is
    /// among the newest processes.
    private func findOwners(of inodes: Set<UInt64>) -> (found: [UInt64: OwnerProcess], wereDenied: Bool) {
        var missing = inodes
        var found: [UInt64: OwnerProcess] = [:]
        var wereDenied = false
        let processes = (try? procfs.processes()) ?? []
        var budget = Self.descriptorLimit
        for pid in processes.reversed().prefix(Self.processLimit) {
            guard !missing.isEmpty, budget > 0 else { break }
            do throws(ProcFSError) {
                guard let held = try procfs.socketInodes(of: pid, budget: &budget) else { continue }
                guard !missing.isDisjoint(with: held), let process = describe(pid) else { continue }
                for inode in missing.intersection(held) { found[inode] = process }
                missing.subtract(held)
            } catch {
                if case .denied = error.cause { wereDenied = true }
            }
        }
        return (found, wereDenied && !missing.isEmpty)
    }

    /// What can be read of a process; `nil` if it is gone.
    private func describe(_ pid: Int32) -> OwnerProcess? {
        guard let startTime = try? procfs.startTime(of: pid) else { return nil }
        return OwnerProcess(
            pid: pid, startTime: startTime, command: (try? procfs.commandLine(of: pid)) ?? [],
            executable: (try? procfs.executableName(of: pid)) ?? "",
            cwd: try? procfs.workingDirectory(of: pid), cgroup: try? procfs.controlGroup(of: pid))
    }
}
