import IdleDetector

/// What still has to be delivered by one way; a value.
struct DeliveryQueue: Sendable {
    /// One notification on its way.
    struct Entry: Sendable {
        let notification: Notification
        /// How often it was tried.
        var tries = 0
        var dueAt: Moment
    }

    /// Notifications that wait; when there are more, the oldest goes.
    static let limit = 64
    /// How often a notification is tried.
    static let tryLimit = 5
    /// Before each further try, ±20 %: about ten minutes in all, with what the tries themselves take.
    static let pauses: [Duration] = [.seconds(10), .seconds(45), .seconds(120), .seconds(360)]

    /// The oldest first.
    private(set) var waiting: [Entry] = []

    /// Adds a notification that is due at once; returns the one that had to go for it.
    mutating func add(_ notification: Notification, now: Moment) -> Notification? {
        waiting.append(Entry(notification: notification, dueAt: now))
        return waiting.count > Self.limit ? waiting.removeFirst().notification : nil
    }

    /// Takes out the oldest that is due.
    mutating func takeDue(now: Moment) -> Entry? {
        waiting.firstIndex { $0.dueAt <= now }.map { waiting.remove(at: $0) }
    }

    /// Puts back one whose try failed, to be tried again later. False when that was its last, or newer ones need the room.
    ///
    /// - Parameter jitter: from 0 to 1.
    mutating func retry(_ entry: Entry, now: Moment, jitter: Double) -> Bool {
        guard entry.tries < Self.tryLimit, waiting.count < Self.limit else { return false }
        let pause = Self.pauses[max(0, min(entry.tries, Self.pauses.count) - 1)]
        var later = entry
        later.dueAt = now + pause * (0.8 + 0.4 * min(max(jitter, 0), 1))
        waiting.insert(later, at: 0)
        return true
    }

    mutating func removeAll() { waiting = [] }
}
