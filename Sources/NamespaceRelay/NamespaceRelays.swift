internal import CLinux
internal import Glibc
package import Supervision
internal import Synchronization

/// Unix sockets on the host whose connections are carried to listeners inside network namespaces.
///
/// Both threads (`samd-relay`, `samd-netns`) start with the first relay and end with `run()`, or with the object;
/// a machine without such listeners never has them. The relay thread alone stamps the progress once it exists, so
/// that a stuck one is noticed.
package final class NamespaceRelays: SupervisedService {
    package let monitor: ServiceMonitor
    private let folder: RelayFolder
    private let maximumConnections: Int
    private let mayConnect: @Sendable (UInt32) -> Bool
    private let enter: @Sendable (Int32) -> Int32
    /// Also puts calls of `set` in order.
    private let state = Mutex(State())

    private struct State {
        var loop: RelayLoop?
        var relays: [String: Relay] = [:]
        var isFolderReady = false
        var isStopped = false
        /// What relays did that are gone.
        var past = RelayStatistics()
        /// The first target that failed in the last `set`, by name; those that vanished aside.
        var failure: RelayError?
    }

    /// How long `set` waits for the answer whether its new namespaces can be entered, all together.
    private static let probeMilliseconds: Int64 = 2000

    /// Prepares; nothing is created before the first `set`.
    ///
    /// - Parameters:
    ///   - folder: the sockets' own; made (0711) if missing, its `*.sock` are removed at the start. The folder above
    ///     it has to exist.
    ///   - maximumConnections: of all relays together; each takes two descriptors. Further ones are closed at once.
    ///   - mayConnect: asked on the relay thread with the user id of each connecting process (SO_PEERCRED);
    ///     others are closed at once. Has to answer at once, and may call back.
    package convenience init(
        monitor: ServiceMonitor, folder: String, maximumConnections: Int = 2048,
        mayConnect: @escaping @Sendable (UInt32) -> Bool
    ) {
        self.init(
            monitor: monitor, folder: folder, maximumConnections: maximumConnections, mayConnect: mayConnect,
            enter: { samd_enter_network_namespace($0) })
    }

    /// - Parameter enter: setns(2) for network namespaces: 0, or -1 and errno. For tests.
    init(
        monitor: ServiceMonitor, folder: String, maximumConnections: Int,
        mayConnect: @escaping @Sendable (UInt32) -> Bool, enter: @escaping @Sendable (Int32) -> Int32
    ) {
        self.monitor = monitor
        self.folder = RelayFolder(path: folder)
        self.maximumConnections = maximumConnections
        self.mayConnect = mayConnect
        self.enter = enter
    }

    deinit { stop() }

    /// Makes the set of relays exactly this, also before and without `run()`. Blocks for about a millisecond; for 2 s
    /// when entering a namespace hangs.
    ///
    /// A relay whose target leads to the same place stays with its connections, whatever way in it names by now: the
    /// namespace was entered long ago. New ones listen when it returns. Those that are gone, and those whose target
    /// leads elsewhere, listen no more, and their connections are ended.
    ///
    /// - Parameter targets: of two with the same name the first counts.
    /// - Returns: by name the path of the socket, or why there is none. What failed is tried again by the next call.
    package func set(_ targets: [RelayTarget]) -> [String: Result<String, RelayError>] {
        state.withLock { state in
            var wanted: [String: RelayTarget] = [:]
            for target in targets where wanted[target.name] == nil { wanted[target.name] = target }
            if state.isStopped {
                return wanted.mapValues { .failure(RelayError("relay", $0.name, .stopped)) }
            }
            for (name, relay) in state.relays where wanted[name]?.isSamePlace(as: relay.target) != true {
                state.relays[name] = nil
                if let loop = state.loop { state.past.add(loop.statistics(of: relay)) }
                Self.remove(relay, state.loop)
            }
            var results = state.relays.mapValues { Result<String, RelayError>.success($0.path) }
            let new = wanted.filter { state.relays[$0.key] == nil }
            for (name, result) in add(new, to: &state) {
                results[name] = result.map(\.path)
                if case .success(let relay) = result { state.relays[name] = relay }
            }
            // A namespace that went before its target did is every container's end, not a fault.
            state.failure =
                results.sorted { $0.key < $1.key }.lazy.compactMap { entry in
                    if case .failure(let error) = entry.value, error.cause != .vanished { error } else { nil }
                }.first
            return results
        }
    }

    /// Ends the connections of one relay, which goes on listening; how many those were.
    package func endConnections(of name: String) -> Int {
        state.withLock { state in
            guard let relay = state.relays[name], let loop = state.loop else { return 0 }
            return loop.endConnections(of: relay)
        }
    }

    /// What each relay did since it listens, by name.
    package func statistics() -> [String: RelayStatistics] {
        state.withLock { state in
            guard let loop = state.loop else { return [:] }
            return state.relays.mapValues { loop.statistics(of: $0) }
        }
    }

    /// What all relays did together since the start, those that are gone included.
    package func total() -> RelayStatistics {
        state.withLock { state in
            var total = state.past
            if let loop = state.loop {
                for relay in state.relays.values { total.add(loop.statistics(of: relay)) }
            }
            return total
        }
    }

    /// Reports health until cancelled; then ends all connections, removes the sockets and joins the threads. There
    /// are no relays afterwards. Throws when the relay thread cannot go on.
    package func run() async throws {
        defer { stop() }
        while !Task.isCancelled {
            try report()
            try? await SuspendingClock().sleep(for: Heartbeat.interval / 2)
        }
    }

    /// How the relay thread fares; `nil` before there is one.
    func condition() -> RelayLoop.Condition? { state.withLock { $0.loop?.condition() } }

    private func report() throws(RelayError) {
        let (health, hasThread, failure): (ServiceHealth, Bool, RelayError?) = state.withLock { state in
            let condition = state.loop?.condition()
            if let problem = condition?.failure ?? condition?.trouble ?? state.failure {
                let health = ServiceHealth.degraded(reason: "\(problem)", hint: problem.hint)
                return (health, state.loop != nil, condition?.failure)
            }
            func plural(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
            let detail =
                plural(state.relays.count, "relay") + ", "
                + plural(condition?.openConnections ?? 0, "connection")
            return (.ok(detail: detail), state.loop != nil, nil)
        }
        if !hasThread { monitor.progressed() }
        monitor.report(health)
        if let failure { throw failure }
    }

    private func stop() {
        let loop: RelayLoop? = state.withLock { state in
            state.isStopped = true
            for relay in state.relays.values { Self.remove(relay, state.loop) }
            state.relays = [:]
            return state.loop.take()
        }
        // Not under the lock: the thread may be in the caller's `mayConnect`, which may call back.
        loop?.stop()
    }

    private static func remove(_ relay: Relay, _ loop: RelayLoop?) {
        // Gone from the folder first, so that nobody new comes while its connections are ended.
        unlink(relay.path)
        loop?.remove(relay)
    }

    // MARK: Adding

    private func add(
        _ targets: [String: RelayTarget], to state: inout State
    ) -> [String: Result<Relay, RelayError>] {
        if targets.isEmpty { return [:] }
        let loop: RelayLoop
        do throws(RelayError) {
            loop = try prepare(&state)
        } catch {
            return targets.mapValues { _ in .failure(error) }
        }
        var results = targets.mapValues { target in
            Result { () throws(RelayError) in try open(target) }
        }
        // All at once, so that they share one deadline.
        let probes = results.compactMapValues { result -> (Relay, Probe)? in
            guard case .success(let relay) = result else { return nil }
            let probe = Probe()
            loop.probe(relay, probe)
            return (relay, probe)
        }
        let deadline = monotonicMilliseconds() + Self.probeMilliseconds
        for (name, (relay, probe)) in probes {
            let failure = probe.wait(until: deadline)
            do throws(RelayError) {
                if failure != 0 { throw RelayError("enter", relay.target.entrance, errno: failure) }
                try loop.add(relay)
            } catch {
                unlink(relay.path)
                results[name] = .failure(error)
            }
        }
        return results
    }

    private func prepare(_ state: inout State) throws(RelayError) -> RelayLoop {
        if !state.isFolderReady {
            try folder.prepare()
            state.isFolderReady = true
        }
        if let loop = state.loop { return loop }
        let loop = try RelayLoop(
            maximumConnections: maximumConnections, mayConnect: mayConnect, enter: enter,
            onRound: { [monitor] in monitor.progressed() })
        try loop.start()
        state.loop = loop
        return loop
    }

    private func open(_ target: RelayTarget) throws(RelayError) -> Relay {
        let path = try folder.socketPath(of: target.name)
        guard target.port != 0, let address = SocketAddress(address: target.address, port: target.port) else {
            throw RelayError(
                "dial", "\(target.address) port \(target.port)", .invalid("is no numeric address and port"))
        }
        let namespace = try NamespaceFile.open(target.entrance, inode: target.namespace)
        let listener = Descriptor(try RelayFolder.listen(on: path))
        return Relay(target: target, path: path, address: address, namespace: namespace, listener: listener)
    }
}
