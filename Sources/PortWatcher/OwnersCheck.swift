/// When the owners of all listeners are looked up again after changes: pure.
///
/// A socket may be handed on for a while after it came, so that each change is followed by a check that is late enough for it;
/// changes that go on get one check per delay.
struct OwnersCheck {
    private let delay: Duration
    private var newestChange: SuspendingClock.Instant?
    /// `nil` while nothing changed since the last one.
    private(set) var dueAt: SuspendingClock.Instant?

    init(delay: Duration) { self.delay = delay }

    /// Listeners came or went.
    mutating func changed(at now: SuspendingClock.Instant) {
        newestChange = now
        dueAt = dueAt ?? now.advanced(by: delay)
    }

    /// The owners of all listeners are looked up now.
    mutating func checked(at now: SuspendingClock.Instant) {
        let next = newestChange?.advanced(by: delay)
        dueAt = next.flatMap { $0 > now ? $0 : nil }
    }
}
