import ProcFS

/// What is remembered of each network namespace other than the daemon's own between scans.
struct NamespaceRegistry {
    /// Namespaces that one scan looks at, the daemon's own included.
    static let namespaceLimit = 256
    /// Processes of a namespace that are remembered, to see whether it is still the same one.
    static let rememberedProcesses = 32

    /// One namespace.
    struct Known {
        var entrance: NamespaceEntrance?
        /// Some of its processes in the last scan, ascending.
        var processes: [Int32] = []
        /// What its tables showed in the last scan.
        var tables: [TCPTable: TableReader.Reading] = [:]
        /// Its IPv4 addresses, once they were asked for.
        var addresses: Set<IPAddress>?
        /// Whether root made the user namespace that owns it, once that was asked.
        var isRoots: Bool?

        /// The bytes that both tables had.
        var byteCount: Int { tables.values.reduce(0) { $0 + $1.byteCount } }
        var isListening: Bool { tables.values.contains { !$0.listeners.isEmpty } }
    }

    private(set) var known: [UInt64: Known] = [:]

    subscript(namespace: UInt64) -> Known {
        get { known[namespace] ?? Known() }
        set { known[namespace] = newValue }
    }

    /// Which namespaces to look at: those with listeners, then the newest.
    func selection(from census: NamespaceCensus) -> (selected: [UInt64], unread: Set<UInt64>) {
        let all = census.namespaces
        let limit = Self.namespaceLimit - 1
        guard all.count > limit else { return (Array(all), []) }
        let sorted = all.map { namespace in
            (
                namespace: namespace, isListening: known[namespace]?.isListening == true,
                firstProcess: census.processes[namespace]?.first ?? 0
            )
        }.sorted { left, right in
            if left.isListening != right.isListening { return left.isListening }
            return (left.firstProcess, left.namespace) > (right.firstProcess, right.namespace)
        }.map(\.namespace)
        return (Array(sorted.prefix(limit)), Set(sorted.dropFirst(limit)))
    }

    /// Whether all known namespaces still exist.
    func isCovered(by census: NamespaceCensus) -> Bool {
        known.keys.allSatisfy { census.processes[$0] != nil || census.mounts[$0] != nil }
    }

    /// Forgets namespaces that are gone, and finds those whose inode names another one now: nothing that lived in the
    /// former lives in it, and no mount held it meanwhile.
    mutating func update(from census: NamespaceCensus) -> Set<UInt64> {
        if census.isComplete {
            let all = census.namespaces
            known = known.filter { all.contains($0.key) }
        }
        var renewed: Set<UInt64> = []
        for (namespace, entry) in known {
            guard !entry.processes.isEmpty, let current = census.processes[namespace],
                !entry.processes.contains(where: { contains(current, $0) }), census.mounts[namespace] == nil
            else { continue }
            renewed.insert(namespace)
            known[namespace] = nil
        }
        return renewed
    }

    /// Remembers who lives in a namespace, and how to get in: as before while that process lives there.
    mutating func settle(
        _ namespace: UInt64, census: NamespaceCensus, procfs: ProcFileSystem, verifying: Bool
    ) {
        var entry = self[namespace]
        let processes = census.processes[namespace] ?? []
        entry.processes = Array(processes.prefix(Self.rememberedProcesses))
        switch entry.entrance {
        case .process(let pid, let startTime):
            let isThere = contains(processes, pid)
            if !isThere || (verifying && (try? procfs.startTime(of: pid)) != startTime) {
                entry.entrance = nil
            }
        case .mount(let path):
            if census.mounts[namespace] != path { entry.entrance = nil }
        case nil: break
        }
        if entry.entrance == nil {
            entry.entrance =
                processes.lazy.compactMap { pid in
                    (try? procfs.startTime(of: pid)).map { .process(pid: pid, startTime: $0) }
                }.first ?? census.mounts[namespace].map { .mount(path: $0) }
        }
        known[namespace] = entry
    }

    /// Asks for the addresses that are not known, or for all of them `again`; a namespace without any may just be set up.
    mutating func readAddresses(census: NamespaceCensus, procfs: ProcFileSystem, again: Bool) {
        for (namespace, processes) in census.processes {
            guard var entry = known[namespace], again || entry.addresses?.isEmpty != false,
                let pid = processes.first
            else { continue }
            entry.addresses = try? procfs.localAddresses(of: .process(pid))
            if entry.isRoots == nil {
                entry.isRoots = procfs.userNamespaceCreator(of: pid, owning: .network).map { $0 == 0 }
            }
            known[namespace] = entry
        }
    }

    /// Whether sorted numbers hold one.
    private func contains(_ sorted: [Int32], _ pid: Int32) -> Bool {
        var low = 0
        var high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            if sorted[middle] < pid { low = middle + 1 } else { high = middle }
        }
        return low < sorted.count && sorted[low] == pid
    }
}
