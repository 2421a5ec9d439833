package import Supervision
internal import Synchronization

/// What became of the lines that Caddy sent.
package struct AccessLogStatistics: Sendable, Equatable {
    /// Lines that became entries and were handed on.
    package var lines: UInt64 = 0
    /// Lines that were not understood, or too long.
    package var malformed: UInt64 = 0
    /// Entries that were dropped because `onEntries` was too slow.
    package var dropped: UInt64 = 0
    /// Connections that were closed at once: of a stranger, or beyond the bound.
    package var refused: UInt64 = 0

    /// Nothing yet.
    package init() {}
}

/// Why no access log can be received.
package struct AccessLogSocketError: Error, Sendable, CustomStringConvertible {
    /// What failed on what, and why.
    package var description: String
}

/// Receives Caddy's access log on a unix socket and hands its entries on.
///
/// **Caddy waits for the reader.** A connection that is accepted, or only waiting to be, and not read makes Caddy hold
/// every request after some hundred. So one thread does nothing but read: whoever is too slow for its entries loses
/// them, and none of it waits for anyone.
package final class AccessLogService: SupervisedService {
    /// Where the socket comes from.
    package enum Listener: Sendable {
        /// A listening socket that the service manager made; stays open for it.
        case inherited(descriptor: Int32)
        /// Made here, mode 0666, and removed at the end; whatever was there before is replaced.
        case path(String)
    }

    /// Where progress and health are shown.
    package let monitor: ServiceMonitor
    private let listener: Listener
    private let mayConnect: @Sendable (UInt32) -> Bool
    private let onEntries: @Sendable ([AccessLogEntry]) -> Void
    private let inbox = AccessLogInbox()

    /// Entries handed over at a time.
    package static let maxBatch = 256

    /// Creates the service; it listens when `run()` begins.
    ///
    /// - Parameters:
    ///   - mayConnect: asked with each connecting process's uid.
    ///   - onEntries: gets at most `maxBatch` entries at a time, in order per connection. While it works, up to
    ///     `AccessLogInbox.maxEntries` wait; what comes beyond is dropped and counted.
    package init(
        monitor: ServiceMonitor, listener: Listener, mayConnect: @escaping @Sendable (UInt32) -> Bool,
        onEntries: @escaping @Sendable ([AccessLogEntry]) -> Void
    ) {
        self.monitor = monitor
        self.listener = listener
        self.mayConnect = mayConnect
        self.onEntries = onEntries
    }

    /// What became of the lines so far.
    package func statistics() -> AccessLogStatistics { inbox.statistics }

    /// Receives until cancelled; throws an `AccessLogSocketError` when it cannot listen.
    package func run() async throws {
        let socket = try AccessLogSocket(listener)
        defer { socket.close() }
        let receiver = try AccessLogReceiver(
            listening: socket.descriptor, inbox: inbox, mayConnect: mayConnect)
        try receiver.start()
        while !Task.isCancelled {
            while let batch = inbox.next(Self.maxBatch) {
                onEntries(batch)
                if receiver.isAlive { monitor.progressed() }
            }
            if receiver.isAlive { monitor.progressed() }
            monitor.report(health)
            await inbox.wakeUp.wait(upTo: Heartbeat.interval)
        }
        await receiver.stop()
    }

    private var health: ServiceHealth {
        let (connections, statistics, example) = inbox.overview
        var detail = connections == 1 ? "1 connection" : "\(connections) connections"
        if statistics.malformed > 0 {
            detail += ", \(statistics.malformed) lines not understood (\(example ?? "?"))"
        }
        if statistics.dropped > 0 { detail += ", \(statistics.dropped) lines dropped" }
        if statistics.refused > 0 { detail += ", \(statistics.refused) connections refused" }
        return .ok(detail: detail)
    }
}

/// Between the thread that reads and the task that hands on: a bounded queue and the counters.
final class AccessLogInbox: Sendable {
    /// About 1 MB.
    static let maxEntries = 4096

    let wakeUp = WakeUp()
    private let state = Mutex(State())

    private struct State {
        var entries: [AccessLogEntry] = []
        var statistics = AccessLogStatistics()
        var connections = 0
        var example: String?
    }

    var statistics: AccessLogStatistics { state.withLock { $0.statistics } }

    /// Connections, counters, and what was wrong with the last line that was not understood.
    var overview: (connections: Int, statistics: AccessLogStatistics, example: String?) {
        state.withLock { ($0.connections, $0.statistics, $0.example) }
    }

    /// Takes what was read in one go.
    func put(_ entries: [AccessLogEntry], malformed: UInt64, example: String?) {
        state.withLock { state in
            let fitting = entries.prefix(Self.maxEntries - state.entries.count)
            state.entries += fitting
            state.statistics.dropped += UInt64(entries.count - fitting.count)
            state.statistics.malformed += malformed
            state.example = example ?? state.example
        }
        if !entries.isEmpty { wakeUp.fire() }
    }

    func connectionsChanged(to count: Int, refused: UInt64) {
        state.withLock { state in
            state.connections = count
            state.statistics.refused += refused
        }
    }

    /// The oldest entries; nil when there is none.
    func next(_ count: Int) -> [AccessLogEntry]? {
        state.withLock { state in
            if state.entries.isEmpty { return nil }
            let batch = Array(state.entries.prefix(count))
            // Gives the memory of a flood back.
            if batch.count == state.entries.count {
                state.entries = []
            } else {
                state.entries.removeFirst(batch.count)
            }
            state.statistics.lines += UInt64(batch.count)
            return batch
        }
    }
}
