import ProcFS

/// Turns scans into changes of the published set: pure, one input.
///
/// - A new listener is published at once; what follows within the settle window goes into one change.
/// - A listener that is absent stays published for the removal delay, or longer while its server is likely to come back,
///   at most for the restart delay; it is removed by a scan that still misses it.
/// - What listened in a namespace that is gone is withdrawn at once: its addresses may be given to another.
/// - An absent listener whose number someone else has taken is withdrawn at once; if that is another user,
///   without waiting for the settle window.
/// - A table that could not be read whole removes nothing of its own. A table that is empty is an answer.
package struct PortChanges: Sendable {
    /// What follows from a scan.
    package struct Outcome: Sendable, Equatable {
        /// The whole set, sorted by identity, if it is to be published now; the first one even if empty.
        package var snapshot: [ListeningPort]?
        /// Whether the scan differs from the one before.
        package var sawDifference: Bool
        /// Whether a socket listens that did not before.
        package var sawNewSocket = false
        /// When the next scan is needed to decide what was left open; `nil` if nothing is.
        package var lookAgainAt: SuspendingClock.Instant?
    }

    private struct Tracked {
        var port: ListeningPort
        var place: PortScan.Place
        var absentSince: SuspendingClock.Instant?
    }

    private struct Number: Hashable {
        let namespace: UInt64
        let port: UInt16
        init(_ identity: PortIdentity) {
            namespace = identity.namespace
            port = identity.port
        }
    }

    private let settleWindow: Duration
    private let removalDelay: Duration
    private let restartDelay: Duration
    private var tracked: [PortIdentity: Tracked] = [:]
    private var published: [ListeningPort]?
    private var publishedAt: SuspendingClock.Instant?

    /// Starts with nothing seen and nothing published.
    package init(settings: PortWatchSettings = PortWatchSettings()) {
        settleWindow = settings.settleWindow
        removalDelay = settings.removalDelay
        restartDelay = max(settings.restartDelay, settings.removalDelay)
    }

    /// How many listeners the last scans showed, those waiting for their removal included.
    package var count: Int { tracked.count }

    /// Takes in a scan that ended at `now`. Instants must not go back.
    package mutating func observe(_ scan: PortScan, at now: SuspendingClock.Instant) -> Outcome {
        let before = tracked.count
        if !scan.renewedNamespaces.isEmpty {
            tracked = tracked.filter { !scan.renewedNamespaces.contains($0.key.namespace) }
        }
        var isUrgent = tracked.count < before
        let seen = merge(scan)
        let sawNewSocket = seen.contains { tracked[$0.key]?.port.inode != $0.value.listener.inode }
        var sawDifference = add(seen, at: now) || isUrgent
        let owners = Dictionary(seen.keys.map { (Number($0), [$0.ownerUID]) }, uniquingKeysWith: +)
        var nextLooks: [SuspendingClock.Instant] = []
        for (identity, entry) in tracked where seen[identity] == nil {
            switch scan.absence(at: entry.place) {
            case .unproven:
                // A removal that is due but not proven waits for the next regular scan.
                if let absentSince = entry.absentSince {
                    nextLooks.append(absentSince.advanced(by: removalDelay))
                }
            case .namespaceGone:
                tracked[identity] = nil
                sawDifference = true
                isUrgent = true
            case .absent:
                let absentSince = entry.absentSince ?? now
                if entry.absentSince == nil { sawDifference = true }
                tracked[identity]?.absentSince = absentSince
                if let successors = owners[Number(identity)] {
                    tracked[identity] = nil
                    if successors.contains(where: { $0 != identity.ownerUID }) { isUrgent = true }
                } else if let next = nextLook(
                    absentSince: absentSince, mayReturn: scan.mayReturn.contains(entry.port.inode), at: now)
                {
                    nextLooks.append(next)
                } else {
                    tracked[identity] = nil
                }
            }
        }
        var outcome = publish(
            at: now, isUrgent: isUrgent, sawNothing: scan.sawNothing, sawDifference: sawDifference,
            lookAgainAt: nextLooks.filter { $0 > now }.min())
        outcome.sawNewSocket = sawNewSocket
        return outcome
    }

    /// When to look again at a listener that is absent; `nil` if it has been for too long.
    private func nextLook(
        absentSince: SuspendingClock.Instant, mayReturn: Bool, at now: SuspendingClock.Instant
    ) -> SuspendingClock.Instant? {
        let removal = absentSince.advanced(by: removalDelay)
        if removal > now { return removal }
        let deadline = absentSince.advanced(by: restartDelay)
        // Whoever was to bring it back may end meanwhile.
        return mayReturn && deadline > now ? min(deadline, now.advanced(by: removalDelay)) : nil
    }

    /// One observation per identity: several sockets may share it (SO_REUSEPORT).
    private func merge(_ scan: PortScan) -> [PortIdentity: PortScan.Observation] {
        var seen: [PortIdentity: PortScan.Observation] = [:]
        for observation in scan.observations {
            let listener = observation.listener
            let identity = PortIdentity(
                namespace: observation.namespace, ownerUID: listener.uid, address: listener.address,
                port: listener.port)
            guard let other = seen[identity] else {
                seen[identity] = observation
                continue
            }
            // The known socket stays the known one while it lives; else the choice must not depend on the
            // order.
            let known = tracked[identity]?.port.inode
            if other.listener.inode != known,
                listener.inode == known || listener.inode < other.listener.inode
            {
                seen[identity] = observation
            }
        }
        return seen
    }

    private mutating func add(
        _ seen: [PortIdentity: PortScan.Observation], at now: SuspendingClock.Instant
    ) -> Bool {
        var sawDifference = false
        for (identity, observation) in seen {
            let old = tracked[identity]
            let port = ListeningPort(
                identity: identity, process: observation.process, firstSeen: old?.port.firstSeen ?? now,
                inode: observation.listener.inode, container: observation.container,
                isForwarder: observation.isForwarder, entrance: observation.entrance,
                hostAddress: observation.hostAddress)
            if old == nil || old?.absentSince != nil || old?.port != port { sawDifference = true }
            tracked[identity] = Tracked(
                port: port,
                place: PortScan.Place(namespace: identity.namespace, table: observation.listener.table))
        }
        return sawDifference
    }

    private mutating func publish(
        at now: SuspendingClock.Instant, isUrgent: Bool, sawNothing: Bool, sawDifference: Bool,
        lookAgainAt: SuspendingClock.Instant?
    ) -> Outcome {
        var lookAgainAt = lookAgainAt
        let current = tracked.values.map(\.port).sorted { $0.identity < $1.identity }
        let isFirst = published == nil && !sawNothing
        guard isFirst || (published != nil && published != current) else {
            return Outcome(snapshot: nil, sawDifference: sawDifference, lookAgainAt: lookAgainAt)
        }
        if let settled = publishedAt?.advanced(by: settleWindow), settled > now, !isUrgent {
            lookAgainAt = min(lookAgainAt ?? settled, settled)
            return Outcome(snapshot: nil, sawDifference: sawDifference, lookAgainAt: lookAgainAt)
        }
        published = current
        publishedAt = now
        return Outcome(snapshot: current, sawDifference: sawDifference, lookAgainAt: lookAgainAt)
    }
}
