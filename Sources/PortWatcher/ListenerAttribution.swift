import Containers
import ProcFS

/// Finds the containers behind listeners: those that the listening process lives in, and those that a runtime's helper
/// listens for in the daemon's own namespace.
struct ListenerAttribution {
    /// Looks in a row for the container at an address; later only scans that verify look again. docker-proxy listens
    /// before its container runs.
    static let addressAttempts = 64
    /// The same for a helper whose namespace must be searched for.
    static let networkAttempts = 3
    /// Processes of one namespace that are asked for their container.
    private static let askedProcesses = 16
    /// Namespaces that a helper may hold open.
    private static let openNamespaces = 8
    /// Descriptors of helpers that one scan looks at.
    private static let descriptorLimit = 65_536

    private struct Forwarder {
        var startTime: UInt64
        /// What is certain; `nil` until found.
        var container: Container?
        var attempts = 0
    }

    private let procfs: ProcFileSystem
    private var finder: ContainerFinder
    private var forwarders: [Int32: Forwarder] = [:]
    private var asked: Set<Int32> = []
    private var isVerifying = false
    private var descriptors = 0

    init(procfs: ProcFileSystem, dockerRoot: String) {
        self.procfs = procfs
        finder = ContainerFinder(procfs: procfs, dockerRoot: dockerRoot)
    }

    /// Begins a scan. A verifying one forgets all but the `needed` processes, and looks again for what was not found.
    mutating func begin(verifying: Bool, needed: () -> Set<Int32>) {
        isVerifying = verifying
        asked = []
        descriptors = Self.descriptorLimit
        guard verifying else { return }
        let needed = needed()
        finder.forget { needed.contains($0) }
        forwarders = forwarders.filter { needed.contains($0.key) }
    }

    /// Whether the addresses of namespaces are wanted to find the container of a process.
    func needsAddresses(_ process: OwnerProcess?) -> Bool {
        guard let process, process.executable == "docker-proxy" else { return false }
        guard let forwarder = forwarders[process.pid] else { return true }
        return isVerifying || (forwarder.container == nil && forwarder.attempts < Self.addressAttempts)
    }

    /// The container of a listener, and whether the process only forwards to it.
    mutating func container(
        of process: OwnerProcess, listener: TCPListener, isInOwnNamespace: Bool, census: NamespaceCensus,
        registry: NamespaceRegistry
    ) -> (container: Container?, isForwarder: Bool) {
        if let container = finder.container(of: process.pid, startTime: process.startTime) {
            return (container, false)
        }
        guard isInOwnNamespace,
            let claim = ForwarderEvidence.claim(executable: process.executable, command: process.command)
        else { return (nil, false) }
        guard let users = try? procfs.users(of: process.pid), users.real == users.effective,
            users.real == 0 || users.real == listener.uid
        else { return (nil, false) }
        let user = users.real
        switch claim {
        case .container(let claim):
            return (finder.container(claim, creator: user, fallbackName: "conmon"), true)
        case .address(let address):
            guard user == 0 else { return (nil, false) }
            let found = resolved(process, attempts: Self.addressAttempts) { this in
                let namespaces = registry.known.filter {
                    $0.value.isRoots == true && $0.value.addresses?.contains(address) == true
                }
                return this.container(in: namespaces.keys.sorted(), census: census)
            }
            return (
                found
                    ?? Container(runtime: .docker, id: "", name: "\(address)", creatorUID: 0), true
            )
        case .network(let processes, let runtime):
            let found = resolved(process, attempts: Self.networkAttempts) { this in
                let namespaces = this.namespaces(near: process.pid, named: processes, census: census)
                // Only its own user's: anyone can hold a namespace open.
                return this.container(in: namespaces, census: census).flatMap { container in
                    user == 0 || container.creatorUID == user ? container : nil
                }
            }
            return (
                found
                    ?? Container(
                        runtime: runtime, id: "", name: ContainerEvidence.bounded(process.executable),
                        creatorUID: user), true
            )
        }
    }

    /// What `find` finds, which is remembered; it is asked once in a scan, and not for ever.
    private mutating func resolved(
        _ process: OwnerProcess, attempts: Int, find: (inout ListenerAttribution) -> Container?
    ) -> Container? {
        var forwarder = forwarders[process.pid] ?? Forwarder(startTime: process.startTime)
        if forwarder.startTime != process.startTime { forwarder = Forwarder(startTime: process.startTime) }
        let mayAsk = isVerifying || (forwarder.container == nil && forwarder.attempts < attempts)
        guard mayAsk, asked.insert(process.pid).inserted else { return forwarder.container }
        forwarder.attempts += 1
        forwarder.container = find(&self) ?? forwarder.container
        forwarders[process.pid] = forwarder
        return forwarder.container
    }

    /// The container that lives in one of the namespaces.
    private mutating func container(in namespaces: [UInt64], census: NamespaceCensus) -> Container? {
        for namespace in namespaces {
            for pid in census.processes[namespace]?.prefix(Self.askedProcesses) ?? [] {
                guard let startTime = try? procfs.startTime(of: pid) else { continue }
                if let container = finder.container(of: pid, startTime: startTime) { return container }
            }
        }
        return nil
    }

    /// The network namespaces that a helper has to do with: held open by it, of processes that it names, of its children.
    private mutating func namespaces(near pid: Int32, named processes: [Int32], census: NamespaceCensus)
        -> [UInt64]
    {
        let held =
            (try? procfs.openNetworkNamespaces(of: pid, limit: Self.openNamespaces, budget: &descriptors))
            ?? []
        let named = processes.compactMap { try? procfs.namespace(.network, of: $0) }
        let children = census.processes.filter { entry in
            entry.value.prefix(Self.askedProcesses).contains {
                (try? procfs.processStat(of: $0))?.parent == pid
            }
        }.keys.sorted()
        return (held + named + children).filter { census.processes[$0] != nil }
    }
}
