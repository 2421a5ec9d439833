import Dispatch
package import ProcFS

/// How much a scan takes for granted.
package enum ScanDepth: Sendable {
    /// Another namespace with as many sockets as before is taken to be unchanged: a look into it takes 3 ms. Answers an
    /// event, or polls.
    case quick
    /// Every table is read. Confirms the answer to an event.
    case whole
    /// In addition the namespace of every process, the mounts, and the owners of known sockets are looked at again, and
    /// owners not found so far.
    case verifying
}

/// Looks at all network namespaces of the machine: their tables, and the processes behind sockets not seen before.
///
/// An actor with its own queue, because every look blocks in the kernel (a large table for 100 ms, a process
/// whose memory is locked for as long as it likes) and must not hold one of the few threads that all tasks
/// share.
package actor PortScanner {
    private let procfs: ProcFileSystem
    private let sysfsRoot: String
    private let queue = BlockingQueue(label: "samd.ports.scan")
    private var census = NamespaceCensus()
    private var reader: TableReader
    private var registry = NamespaceRegistry()
    private var owners: OwnerRegistry
    private var attribution: ListenerAttribution
    private var ownTables: [TCPTable: TableReader.Reading] = [:]
    private var ways = DirectWays()

    /// The queue on which everything here runs.
    package nonisolated var unownedExecutor: UnownedSerialExecutor { queue.asUnownedSerialExecutor() }

    /// Looks through `procfs`, whose `self` is the daemon.
    package init(procfs: ProcFileSystem, settings: PortWatchSettings = PortWatchSettings()) {
        self.procfs = procfs
        sysfsRoot = settings.sysfsRoot
        reader = TableReader(procfs: procfs)
        owners = OwnerRegistry(procfs: procfs, restartDelay: settings.restartDelay)
        attribution = ListenerAttribution(procfs: procfs, dockerRoot: settings.dockerRoot)
    }

    /// Looks once.
    ///
    /// - Parameter now: instants must not go back from call to call.
    package func scan(at now: SuspendingClock.Instant = SuspendingClock().now, depth: ScanDepth = .whole)
        -> PortScan
    {
        let verifying = depth == .verifying
        let own: UInt64
        do throws(ProcFSError) {
            own = try procfs.networkNamespace()
        } catch {
            return PortScan(failure: error)
        }
        var scan = PortScan(ownNamespace: own, observations: [])
        var listeners: [(namespace: UInt64, listener: TCPListener)] = []
        if let readings = reader.tables(of: .own, isOwn: true, before: ownTables) {
            record(readings, of: own, in: &scan, &listeners)
            ownTables = readings
        }
        census.update(procfs: procfs, own: own, at: now, verifying: verifying)
        // A process that ended while the list was made may have left a child that is not in it.
        if !registry.isCovered(by: census) {
            census.update(procfs: procfs, own: own, at: now, verifying: false)
        }
        scan.renewedNamespaces = registry.update(from: census)
        readOthers(own: own, at: now, depth: depth, &scan, &listeners)
        scan.knowsAllNamespaces = census.isComplete

        var sockets: [UInt64: PortScan.Place] = [:]
        sockets.reserveCapacity(listeners.count)
        for (namespace, listener) in listeners {
            sockets[listener.inode] = PortScan.Place(namespace: namespace, table: listener.table)
        }
        let wereDenied = owners.update(
            sockets: sockets, pids: census.pids, at: now, verifying: verifying, absence: scan.absence(at:))
        scan.mayReturn = owners.mayReturn()
        attribution.begin(verifying: verifying, needed: owners.owners)
        updateWays(to: listeners, own: own, verifying: verifying)

        scan.observations = listeners.map { observation($0.listener, in: $0.namespace, own: own) }
        scan.hiddenOwnerCount = wereDenied ? scan.observations.count { $0.process == nil } : 0
        return scan
    }

    // MARK: - Tables

    /// Adds what a namespace's tables showed.
    private func record(
        _ readings: [TCPTable: TableReader.Reading], of namespace: UInt64, in scan: inout PortScan,
        _ listeners: inout [(namespace: UInt64, listener: TCPListener)]
    ) {
        for (table, reading) in readings {
            scan.gaps[PortScan.Place(namespace: namespace, table: table)] = reading.gap
            for listener in reading.listeners { listeners.append((namespace, listener)) }
        }
        scan.namespaces.insert(namespace)
    }

    /// Reads the other namespaces, through processes where there are any, else through mounts.
    private func readOthers(
        own: UInt64, at now: SuspendingClock.Instant, depth: ScanDepth, _ scan: inout PortScan,
        _ listeners: inout [(namespace: UInt64, listener: TCPListener)]
    ) {
        let (selected, unread) = registry.selection(from: census)
        scan.unreadNamespaces = unread
        let ordered = selected.filter { $0 != own }
            .sorted { (registry[$0].byteCount, $0) < (registry[$1].byteCount, $1) }
        reader.share(among: ordered.count)
        var rest: [UInt64] = []
        for namespace in ordered {
            if !read(namespace, depth: depth, &scan, &listeners) { rest.append(namespace) }
        }
        guard !rest.isEmpty else { return }
        // Those through whom they were to be seen have ended; meanwhile there may be others.
        if rest.contains(where: { census.processes[$0] != nil }) {
            census.update(procfs: procfs, own: own, at: now, verifying: false)
            rest = rest.filter { !read($0, depth: depth, &scan, &listeners) }
        }
        visit(rest, depth: depth, &scan, &listeners)
    }

    /// Reads a namespace through one of its processes; false if none is left.
    private func read(
        _ namespace: UInt64, depth: ScanDepth, _ scan: inout PortScan,
        _ listeners: inout [(namespace: UInt64, listener: TCPListener)]
    ) -> Bool {
        var entry = registry[namespace]
        var processes = census.processes[namespace] ?? []
        // The same as before as long as it is there.
        if case .process(let pid, _) = entry.entrance, processes.contains(pid) {
            processes.insert(pid, at: 0)
        }
        for pid in processes {
            guard
                let readings = reader.tables(
                    of: .process(pid), isOwn: false, before: entry.tables, mayReuse: depth == .quick),
                // Its number may be another's by now, or it may have moved.
                (try? procfs.namespace(.network, of: pid)) == namespace
            else {
                census.forget(pid)
                continue
            }
            record(readings, of: namespace, in: &scan, &listeners)
            entry.tables = readings
            registry[namespace] = entry
            registry.settle(namespace, census: census, procfs: procfs, verifying: depth == .verifying)
            return true
        }
        return false
    }

    /// Reads the namespaces that only a mount holds. Those that not even a mount holds are gone.
    private func visit(
        _ namespaces: [UInt64], depth: ScanDepth, _ scan: inout PortScan,
        _ listeners: inout [(namespace: UInt64, listener: TCPListener)]
    ) {
        let requests = namespaces.compactMap { namespace in
            census.mounts[namespace].map { path in
                NamespaceVisit.Request(
                    mount: MountedNamespace(inode: namespace, path: path),
                    before: registry[namespace].tables, mayReuse: depth == .quick,
                    wantsAddresses: depth == .verifying || registry[namespace].addresses == nil)
            }
        }
        let answers = NamespaceVisit.look(at: requests, procfs: procfs, reader: &reader)
        for (request, answer) in zip(requests, answers) {
            let namespace = request.mount.inode
            switch answer {
            case .gone: continue
            case .refused(let error):
                scan.namespaces.insert(namespace)
                for table in TCPTable.allCases {
                    scan.gaps[PortScan.Place(namespace: namespace, table: table)] = .unreadable(error)
                }
            case .tables(let readings, let addresses):
                var entry = registry[namespace]
                record(readings, of: namespace, in: &scan, &listeners)
                entry.tables = readings
                // Only root mounts namespaces where the daemon sees it.
                entry.isRoots = true
                entry.addresses = addresses ?? entry.addresses
                registry[namespace] = entry
                registry.settle(namespace, census: census, procfs: procfs, verifying: depth == .verifying)
            }
        }
    }

    // MARK: - Ways in

    /// Looks at the addresses of namespaces and at the way there, where that is needed: when verifying, and when the first
    /// listeners of a namespace appear.
    private func updateWays(
        to listeners: [(namespace: UInt64, listener: TCPListener)], own: UInt64, verifying: Bool
    ) {
        let current = Set(listeners.lazy.map(\.namespace)).subtracting([own])
        let isNew = !current.isSubset(of: ways.namespaces)
        let isProxied = listeners.contains { entry in
            entry.namespace == own
                && attribution.needsAddresses(owners.owner(of: entry.listener.inode)?.process)
        }
        ways.namespaces = current
        guard !current.isEmpty || isProxied else { return }
        if verifying || isNew { ways.host = HostNetwork(procfs: procfs, sysfsRoot: sysfsRoot) }
        if verifying || isNew || isProxied {
            registry.readAddresses(census: census, procfs: procfs, again: verifying)
        }
        ways.update(from: registry)
    }

    // MARK: - Attribution

    private func observation(_ listener: TCPListener, in namespace: UInt64, own: UInt64)
        -> PortScan.Observation
    {
        var observation = PortScan.Observation(namespace: namespace, listener: listener)
        if namespace != own {
            observation.entrance = registry[namespace].entrance
            observation.hostAddress = ways.address(of: listener, in: namespace, registry[namespace])
        }
        guard let owner = owners.owner(of: listener.inode) else { return observation }
        observation.process = owner.process
        let found = attribution.container(
            of: owner.process, listener: listener, isInOwnNamespace: namespace == own, census: census,
            registry: registry)
        observation.container = found.container
        observation.isForwarder = found.isForwarder
        return observation
    }
}
