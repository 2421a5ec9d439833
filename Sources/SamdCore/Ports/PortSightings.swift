package import FoundationEssentials
package import PortWatcher
import Synchronization

/// When each open port was first seen, kept across restarts of the daemon within one boot.
///
/// `ListeningPort.firstSeen` begins anew with the process; what is remembered here is the wall-clock time of the first sighting.
package final class PortSightings: Sendable {
    /// One remembered port.
    package struct Sighting: Codable, Sendable {
        package var port: PortIdentity
        /// RFC 3339.
        package var since: String
    }

    private let known: Mutex<[PortIdentity: String]>
    private let save: @Sendable ([Sighting]) -> Void
    private let now: @Sendable () -> Date

    /// Creates a memory.
    ///
    /// - Parameters:
    ///   - remembered: what an earlier daemon of this boot saved.
    ///   - save: writes the whole memory; called when it changed, on the caller's task.
    package init(
        remembered: [Sighting], now: @escaping @Sendable () -> Date,
        save: @escaping @Sendable ([Sighting]) -> Void
    ) {
        self.known = Mutex(
            Dictionary(remembered.map { ($0.port, $0.since) }, uniquingKeysWith: { old, _ in old }))
        self.save = save
        self.now = now
    }

    /// Remembers the ports that are open now and forgets the others.
    package func keep(only ports: [ListeningPort]) {
        let text = Timestamp.text(now())
        let changed: [Sighting]? = known.withLock { known in
            let before = known
            known = Dictionary(
                ports.map { ($0.identity, before[$0.identity] ?? text) }, uniquingKeysWith: { old, _ in old })
            guard known != before else { return nil }
            return known.map { Sighting(port: $0.key, since: $0.value) }
                .sorted { ($0.port.port, $0.since) < ($1.port.port, $1.since) }
        }
        if let changed { save(changed) }
    }

    /// When a port was first seen, RFC 3339.
    package func since(_ port: ListeningPort) -> String {
        known.withLock { $0[port.identity] } ?? Timestamp.text(now())
    }
}
