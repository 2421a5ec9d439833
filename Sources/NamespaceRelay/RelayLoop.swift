internal import CLinux
internal import Glibc
internal import Synchronization

/// The thread that accepts and copies, for all relays.
///
/// @unchecked Sendable: everything that changes is touched under `lock` only. The thread holds it for one round of
/// bounded work, never while it waits or while the caller's `mayConnect` runs.
final class RelayLoop: @unchecked Sendable {
    /// How long a connection may take to reach the listener inside; Caddy's own patience is shorter.
    private static let connectMilliseconds: Int64 = 10_000
    /// How long bytes of a peer that has gone are still offered to the other side.
    private static let farewellMilliseconds: Int64 = 60_000
    /// The thread wakes at least this often, which is what keeps the progress stamped.
    private static let longestWaitMilliseconds: Int32 = 800
    /// Pause after accept(2) found no descriptor.
    private static let acceptRetryMilliseconds: Int32 = 100
    /// Bounds for how long the lock is held: at most twice as many turns as events, 64 MB, about 30 ms.
    private static let eventsPerRound = 64
    private static let acceptsPerRound = 64
    /// Beside others a relay may have this part of all connections at most.
    private static let shares = 2

    private let maximumConnections: Int
    private let mayConnect: @Sendable (UInt32) -> Bool
    private let onRound: @Sendable () -> Void
    private let namespaces: NamespaceThread
    private let epoll: Descriptor
    private let bell: Descriptor

    private let lock = Mutex(())
    private var relays = SlotTable<Relay>()
    private var connections = SlotTable<RelayConnection>()
    /// Exists while there are relays.
    private var pump: BytePump?
    private var ready: [RelayConnection] = []
    private var accepting: [Relay] = []
    private var newcomers: [Newcomer] = []
    private var nextSweep: Int64 = 0
    private var thread: pthread_t?
    private var isStopping = false
    private var isNamespaceThreadLost = false
    /// Connections wait for accept(2), but there was no descriptor for them.
    private var isAcceptBlocked = false
    private var failureOfWaiting: RelayError?

    private struct Newcomer {
        var relay: Relay
        var socket: Int32
        var uid: UInt32
    }

    /// What an epoll token is about: its two highest bits.
    private enum Kind {
        static let bell: UInt64 = 0
        static let listener: UInt64 = 1
        static let outer: UInt64 = 2
        static let inner: UInt64 = 3
        static func token(_ kind: UInt64, _ slot: UInt64) -> UInt64 { kind << 62 | slot }
    }

    /// - Parameters:
    ///   - onRound: called on the thread in each round.
    ///   - enter: see `NamespaceThread`.
    init(
        maximumConnections: Int, mayConnect: @escaping @Sendable (UInt32) -> Bool,
        enter: @escaping @Sendable (Int32) -> Int32, onRound: @escaping @Sendable () -> Void
    ) throws(RelayError) {
        self.maximumConnections = maximumConnections
        self.mayConnect = mayConnect
        self.onRound = onRound
        let epollNumber = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epollNumber >= 0 else { throw RelayError("make", "an epoll", errno: errno) }
        epoll = Descriptor(epollNumber)
        let bellNumber = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        guard bellNumber >= 0 else { throw RelayError("make", "an eventfd", errno: errno) }
        bell = Descriptor(bellNumber)
        guard samd_epoll_add(epollNumber, bellNumber, EPOLLIN.rawValue, Kind.token(Kind.bell, 0)) == 0 else {
            throw RelayError("watch", "an eventfd", errno: errno)
        }
        namespaces = try NamespaceThread(enter: enter)
    }

    // MARK: From any thread

    /// Starts both threads.
    func start() throws(RelayError) {
        try startNamespaceThread()
        do throws(RelayError) {
            let thread = try Thread.start("samd-relay") { [self] in run() }
            lock.withLock { _ in self.thread = thread }
        } catch {
            namespaces.stop()
            throw error
        }
    }

    /// Ends everything and waits for both threads to end.
    func stop() {
        let thread: pthread_t? = lock.withLock { _ in
            isStopping = true
            return self.thread.take()
        }
        ring(bell)
        if let thread { pthread_join(thread, nil) }
        namespaces.stop()
        lock.withLock { _ in
            for relay in relays.all { drop(relay) }
        }
    }

    /// Makes a relay accept.
    func add(_ relay: Relay) throws(RelayError) {
        let failure: Int32 = lock.withLock { _ in
            if pump == nil { pump = BytePump() }
            guard pump != nil else { return ENOMEM }
            _ = relays.insert { token in
                relay.token = token
                return relay
            }
            let token = Kind.token(Kind.listener, relay.token)
            guard samd_epoll_add(epoll.number, relay.listener.number, samd_epoll_listener, token) != 0 else {
                return 0
            }
            let error = errno
            drop(relay)
            return error
        }
        if failure != 0 { throw RelayError("watch", relay.path, errno: failure) }
    }

    /// Ends a relay with its connections.
    func remove(_ relay: Relay) {
        lock.withLock { _ in drop(relay) }
    }

    /// Ends a relay's connections; how many those were.
    func endConnections(of relay: Relay) -> Int {
        lock.withLock { _ in endAll(of: relay) }
    }

    func statistics(of relay: Relay) -> RelayStatistics {
        lock.withLock { _ in relay.statistics }
    }

    /// Whether a namespace can be entered: asked now, answered to the probe.
    func probe(_ relay: Relay, _ probe: Probe) {
        namespaces.post(
            NamespaceThread.Request(
                purpose: .probe(probe), namespace: relay.namespace, family: relay.address.family))
    }

    struct Condition {
        var openConnections: Int
        /// What was read and not yet taken, of all connections.
        var leftoverBytes: Int
        /// What keeps a relay from working now.
        var trouble: RelayError?
        /// The thread has ended because of it.
        var failure: RelayError?
    }

    func condition() -> Condition {
        lock.withLock { _ in
            Condition(
                openConnections: connections.count, leftoverBytes: pump?.leftoverBytes ?? 0,
                trouble: relays.all.lazy.compactMap(\.trouble).first, failure: failureOfWaiting)
        }
    }

    // MARK: The thread

    private func startNamespaceThread() throws(RelayError) {
        try namespaces.start { [self] token, outcome in
            lock.withLock { _ in socketArrived(token, outcome) }
        } onLoss: { [self] in
            lock.withLock { _ in isNamespaceThreadLost = true }
            ring(bell)
        }
    }

    private func run() {
        withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: Self.eventsPerRound) { events in
            while true {
                guard let timeout = lock.withLock({ _ in timeout() }) else { return }
                let count = epoll_wait(epoll.number, events.baseAddress, Int32(events.count), timeout)
                if count < 0, errno != EINTR {
                    let failure = RelayError("wait for", "sockets", errno: errno)
                    return lock.withLock { _ in failureOfWaiting = failure }
                }
                let strangers = lock.withLock { _ in
                    for event in events.prefix(max(0, Int(count))) { handle(event) }
                    takeTurns()
                    sweep(now: monotonicMilliseconds())
                    defer { newcomers = [] }
                    return newcomers.map { ($0.relay, $0.socket, $0.uid) }
                }
                for (relay, socket, uid) in strangers {
                    let isWelcome = mayConnect(uid)
                    lock.withLock { _ in
                        if isWelcome { admit(socket, to: relay) } else { refuse(socket, relay) }
                    }
                }
                replaceNamespaceThreadIfLost()
                onRound()
            }
        }
    }

    /// How long to wait for events; `nil` when stopping.
    private func timeout() -> Int32? {
        if isStopping { return nil }
        if !ready.isEmpty || !accepting.isEmpty { return 0 }
        return isNamespaceThreadLost || isAcceptBlocked
            ? Self.acceptRetryMilliseconds : Self.longestWaitMilliseconds
    }

    private func handle(_ event: epoll_event) {
        let token = event.data.u64
        switch token >> 62 {
        case Kind.listener:
            if let relay = relays[token] { acceptAll(relay) }
        case Kind.outer:
            guard let connection = connections[token] else { return }
            connection.outer.note(event.events)
            if connection.phase == .open { turn(connection) }
        case Kind.inner:
            guard let connection = connections[token] else { return }
            connection.inner.note(event.events)
            switch connection.phase {
            case .open: turn(connection)
            case .connecting: connected(connection)
            case .waitingForSocket: break
            }
        default: listen(to: bell)
        }
    }

    /// Those that had more to do than fits one turn.
    private func takeTurns() {
        let queued = ready.prefix(Self.eventsPerRound)
        ready.removeFirst(queued.count)
        for connection in queued {
            connection.isQueued = false
            if connections[connection.token] === connection { turn(connection) }
        }
        let listeners = accepting
        accepting = []
        for relay in listeners where relays[relay.token] === relay { acceptAll(relay) }
    }

    private func sweep(now: Int64) {
        guard now >= nextSweep else { return }
        nextSweep = now + Int64(Self.acceptRetryMilliseconds)
        if isAcceptBlocked {
            isAcceptBlocked = false
            for relay in relays.all { acceptAll(relay) }
        }
        for connection in connections.all {
            guard let deadline = connection.deadline, now >= deadline else { continue }
            if connection.phase == .waitingForSocket {
                connection.relay.trouble = RelayError(
                    "enter", connection.relay.target.entrance, errno: ETIMEDOUT)
            }
            if connection.phase != .open { connection.relay.statistics.refused += 1 }
            end(connection, isReset: true)
        }
    }

    private func replaceNamespaceThreadIfLost() {
        guard lock.withLock({ _ in isNamespaceThreadLost }) else { return }
        do throws(RelayError) {
            try startNamespaceThread()
            lock.withLock { _ in isNamespaceThreadLost = false }
        } catch {
            lock.withLock { _ in
                for relay in relays.all { relay.trouble = error }
            }
        }
    }

    // MARK: Beginnings

    private func acceptAll(_ relay: Relay) {
        for _ in 0..<Self.acceptsPerRound {
            let flags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let socket = accept4(relay.listener.number, __SOCKADDR_ARG(__sockaddr__: nil), nil, flags)
            if socket >= 0 {
                var uid: UInt32 = 0
                guard samd_peer_uid(socket, &uid) == 0 else {
                    refuse(socket, relay)
                    continue
                }
                newcomers.append(Newcomer(relay: relay, socket: socket, uid: uid))
                continue
            }
            switch errno {
            case EAGAIN: return
            case EINTR, ECONNABORTED: continue
            default:
                // No descriptors or no memory: they wait in the backlog until the next try.
                isAcceptBlocked = true
                relay.trouble = RelayError("accept on", relay.path, errno: errno)
                return
            }
        }
        accepting.append(relay)
    }

    private func refuse(_ socket: Int32, _ relay: Relay) {
        relay.statistics.refused += 1
        close(socket)
    }

    private func admit(_ socket: Int32, to relay: Relay) {
        // One port that somebody fills up must leave room for the others.
        let share = max(1, maximumConnections / Self.shares)
        guard !isStopping, relays[relay.token] === relay, connections.count < maximumConnections,
            relays.count == 1 || relay.statistics.openConnections < share
        else {
            return refuse(socket, relay)
        }
        let connection = connections.insert { RelayConnection(relay: relay, token: $0, outer: socket) }
        relay.statistics.openConnections += 1
        connection.deadline = monotonicMilliseconds() + Self.connectMilliseconds
        let token = Kind.token(Kind.outer, connection.token)
        guard samd_epoll_add(epoll.number, socket, samd_epoll_stream, token) == 0 else {
            return fail(connection, errno)
        }
        namespaces.post(
            NamespaceThread.Request(
                purpose: .connection(connection.token), namespace: relay.namespace,
                family: relay.address.family))
    }

    /// On the namespace thread.
    private func socketArrived(_ token: UInt64, _ outcome: NamespaceThread.Outcome) {
        let connection = connections[token]
        switch outcome {
        case .failure(let failure):
            guard let connection else { return }
            fail(connection, failure.errno)
        case .success(let socket):
            guard let connection else {
                close(socket)
                return
            }
            connect(connection, through: socket)
        }
    }

    private func connect(_ connection: RelayConnection, through socket: Int32) {
        connection.inner.descriptor = socket
        connection.relay.trouble = nil
        setOption(socket, level: Int32(IPPROTO_TCP), TCP_NODELAY, to: 1)
        // A namespace whose interfaces vanished answers nothing at all.
        setOption(socket, level: SOL_SOCKET, SO_KEEPALIVE, to: 1)
        setOption(socket, level: Int32(IPPROTO_TCP), TCP_KEEPIDLE, to: 60)
        setOption(socket, level: Int32(IPPROTO_TCP), TCP_KEEPINTVL, to: 15)
        setOption(socket, level: Int32(IPPROTO_TCP), TCP_KEEPCNT, to: 4)
        connection.phase = .connecting
        guard connection.relay.dial(socket) else { return refused(connection) }
        let token = Kind.token(Kind.inner, connection.token)
        guard samd_epoll_add(epoll.number, socket, samd_epoll_stream, token) == 0 else {
            return fail(connection, errno)
        }
    }

    private func connected(_ connection: RelayConnection) {
        let socket = connection.inner.descriptor
        var failure: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &length)
        guard failure == 0, !connection.relay.address.isOwn(of: socket) else { return refused(connection) }
        connection.phase = .open
        connection.deadline = nil
        connection.relay.statistics.connections += 1
        turn(connection)
    }

    /// The listener inside did not take it: closed at once, which a proxy answers with 502.
    private func refused(_ connection: RelayConnection) {
        connection.relay.statistics.refused += 1
        end(connection, isReset: true)
    }

    /// The relay could not do its part.
    private func fail(_ connection: RelayConnection, _ errno: Int32) {
        connection.relay.trouble = RelayError("enter", connection.relay.target.entrance, errno: errno)
        refused(connection)
    }

    // MARK: Copying and ends

    private func turn(_ connection: RelayConnection) {
        let relay = connection.relay
        let inward = pump?.move(
            from: &connection.outer, to: &connection.inner, &connection.inward,
            count: &relay.statistics.bytesIn)
        let outward = pump?.move(
            from: &connection.inner, to: &connection.outer, &connection.outward,
            count: &relay.statistics.bytesOut)
        guard let inward, let outward, inward != .failed, outward != .failed else {
            return end(connection, isReset: true)
        }
        passEnd(of: &connection.inward, to: connection.inner)
        passEnd(of: &connection.outward, to: connection.outer)
        let (isInwardDone, isOutwardDone) = (connection.inward.isFinished, connection.outward.isFinished)
        // Who has hung up reads no more, so once what it said is passed on, nothing is left to do.
        if isInwardDone && isOutwardDone || connection.outer.isHungUp && isInwardDone
            || connection.inner.isHungUp && isOutwardDone
        {
            return end(connection, isReset: false)
        }
        if connection.outer.isHungUp {
            connection.deadline = monotonicMilliseconds() + Self.farewellMilliseconds
        }
        if inward == .more || outward == .more, !connection.isQueued {
            connection.isQueued = true
            ready.append(connection)
        }
    }

    private func passEnd(of direction: inout RelayConnection.Direction, to sink: RelayConnection.Side) {
        guard direction.isEnded, !direction.isFinished, direction.leftoverCount == 0 else { return }
        direction.isFinished = true
        shutdown(sink.descriptor, Int32(SHUT_WR))
    }

    private func end(_ connection: RelayConnection, isReset: Bool) {
        pump?.forget(&connection.inward)
        pump?.forget(&connection.outward)
        if connection.inner.descriptor >= 0 {
            if isReset {
                // Closing then sends a reset instead of an orderly end.
                var linger = linger(l_onoff: 1, l_linger: 0)
                setsockopt(
                    connection.inner.descriptor, SOL_SOCKET, SO_LINGER, &linger,
                    socklen_t(MemoryLayout<linger>.size))
            }
            close(connection.inner.descriptor)
        }
        // A unix socket cannot be reset at will: its peer sees one if it had sent more than was read.
        close(connection.outer.descriptor)
        connections.remove(connection.token)
        connection.relay.statistics.openConnections -= 1
    }

    private func endAll(of relay: Relay) -> Int {
        let all = connections.all.filter { $0.relay === relay }
        for connection in all { end(connection, isReset: true) }
        return all.count
    }

    private func drop(_ relay: Relay) {
        guard relays[relay.token] === relay else { return }
        _ = endAll(of: relay)
        epoll_ctl(epoll.number, EPOLL_CTL_DEL, relay.listener.number, nil)
        // What waits for accept(2) is turned away now, not when the last reference goes.
        shutdown(relay.listener.number, Int32(SHUT_RDWR))
        relays.remove(relay.token)
        if relays.count == 0 { pump = nil }
    }
}
