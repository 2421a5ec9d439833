package import FoundationEssentials
package import Logging
import Synchronization

/// One thing that happened, as `GET /v1/events` sends it.
package struct DaemonEvent: Codable, Sendable, Equatable {
    /// Grows with every event, also across restarts of the daemon.
    package var id: UInt64
    /// When, RFC 3339 in UTC.
    package var time: String
    /// `EventKind.rawValue`.
    package var type: String
    /// A sentence for people.
    package var message: String
    /// The facts, by the names that the journal fields carry in capitals.
    package var data: [String: String]
}

/// The last events, in memory, and whoever follows them. Every event is also a journal entry.
///
/// Bounds: `capacity` events are kept; each follower may lag `capacity` events and then misses the oldest (ids show the gap);
/// at most `maximumFollowers` follow at a time.
package final class EventLog: Sendable {
    package static let capacity = 512
    package static let maximumFollowers = 64

    private struct State {
        var nextID: UInt64
        var events: [DaemonEvent] = []
        var followers: [Int: AsyncStream<DaemonEvent>.Continuation] = [:]
        var nextFollower = 0
        var counts: [String: UInt64] = [:]
    }

    private let logger: Logger
    private let now: @Sendable () -> Date
    private let state: Mutex<State>

    /// Creates an empty log whose first id is derived from the time in milliseconds, so that ids grow across restarts.
    package init(logger: Logger, now: @escaping @Sendable () -> Date = { Date.now }) {
        self.logger = logger
        self.now = now
        let milliseconds = UInt64(max(0, now().timeIntervalSince1970 * 1000))
        self.state = Mutex(State(nextID: milliseconds * 1000 + 1))
    }

    /// Records an event, writes it to the journal and sends it to every follower.
    package func record(
        _ kind: EventKind, level: Logger.Level = .info, _ message: String, _ data: [String: String] = [:]
    ) {
        var metadata = data.mapValues { Logger.MetadataValue.string($0) }
        metadata["message_id"] = .string(kind.messageID)
        metadata["event"] = .string(kind.rawValue)
        logger.log(level: level, "\(message)", metadata: metadata)
        let time = Timestamp.text(now())
        let followers = state.withLock { state in
            let event = DaemonEvent(
                id: state.nextID, time: time, type: kind.rawValue, message: message, data: data)
            state.nextID += 1
            state.counts[kind.rawValue, default: 0] += 1
            state.events.append(event)
            if state.events.count > Self.capacity { state.events.removeFirst() }
            return state.followers.values.map { (event, $0) }
        }
        for (event, follower) in followers { follower.yield(event) }
    }

    /// How many events of each type there were.
    package func counts() -> [String: UInt64] { state.withLock { $0.counts } }

    /// The kept events after `id`, oldest first.
    package func events(after id: UInt64) -> [DaemonEvent] {
        state.withLock { state in state.events.filter { $0.id > id } }
    }

    /// Follows the log: first the kept events after `id` (none when nil), then new ones as they happen; nil when too many follow.
    package func follow(after id: UInt64?) -> AsyncStream<DaemonEvent>? {
        let (stream, continuation) = AsyncStream.makeStream(
            of: DaemonEvent.self, bufferingPolicy: .bufferingNewest(Self.capacity))
        let key: Int? = state.withLock { state in
            guard state.followers.count < Self.maximumFollowers else { return nil }
            let key = state.nextFollower
            state.nextFollower += 1
            state.followers[key] = continuation
            // Under the lock, so that no new event overtakes the kept ones.
            if let id { for event in state.events where event.id > id { continuation.yield(event) } }
            return key
        }
        guard let key else { return nil }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { state in _ = state.followers.removeValue(forKey: key) }
        }
        return stream
    }

    /// Ends every follower's stream; for shutdown.
    package func close() {
        let followers = state.withLock { state in Array(state.followers.values) }
        for follower in followers { follower.finish() }
    }
}

/// Times as the API writes them.
package enum Timestamp {
    /// RFC 3339 in UTC with milliseconds, for example `2026-01-31T12:00:00.000Z`.
    package static func text(_ date: Date) -> String {
        date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }
}
