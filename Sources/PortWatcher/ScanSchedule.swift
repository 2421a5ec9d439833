/// Decides when to scan: pure.
///
/// The first event after a pause is answered at once; more of them get at most one scan per settle window, or
/// a fifth of the time where a scan takes long. Each answer is confirmed once by a later scan, because the
/// kernel tells of a listener a hair before the table shows it (inet_csk_listen_start sets the state, then
/// hashes the socket).
package struct ScanSchedule: Sendable {
    /// When an answer to an event that showed nothing new is repeated, counted from its end.
    static let retryDelays: [Duration] = [.milliseconds(2), .milliseconds(10)]
    /// Time between two such series, so that events which never show anything (those of other network
    /// namespaces) cost one scan per window.
    static let retryPause: Duration = .milliseconds(500)
    /// However long a scan takes, events wait no longer than this for the next one.
    static let longestSpacing: Duration = .seconds(1)

    private let settings: PortWatchSettings
    private var isEventDriven = false
    private var pendingEvent: SuspendingClock.Instant?
    private var followUps: [SuspendingClock.Instant] = []
    private var lookAgainAt: SuspendingClock.Instant?
    private var lastStart: SuspendingClock.Instant?
    private var lastCost: Duration = .zero
    private var lastRetries: SuspendingClock.Instant?
    private var lastDifference: SuspendingClock.Instant

    /// Starts with a scan due at once; the time of the start counts as a change.
    package init(settings: PortWatchSettings = PortWatchSettings(), at now: SuspendingClock.Instant) {
        self.settings = settings
        lastDifference = now
    }

    /// The instant at which the next scan is due; it may have passed.
    package var nextScan: SuspendingClock.Instant {
        guard let lastStart else { return lastDifference }
        var next = lastStart.advanced(by: idleInterval(at: lastStart))
        if let pendingEvent { next = min(next, max(pendingEvent, lastStart.advanced(by: spacing))) }
        if let followUp = followUps.first { next = min(next, followUp) }
        if let lookAgainAt { next = min(next, lookAgainAt) }
        return next
    }

    /// Whether a scan at this instant is the last of those that an event led to.
    package func isConfirmation(at now: SuspendingClock.Instant) -> Bool {
        guard pendingEvent == nil, let last = followUps.last else { return false }
        return last <= now
    }

    /// Something listens or ceased to.
    package mutating func kernelEvent(at now: SuspendingClock.Instant) {
        pendingEvent = pendingEvent ?? now
    }

    /// Events are there from now on, or are not. What happened while they were not must be looked for.
    package mutating func switched(toEvents isEventDriven: Bool, at now: SuspendingClock.Instant) {
        self.isEventDriven = isEventDriven
        kernelEvent(at: now)
    }

    /// A scan was made.
    package mutating func scanned(
        from start: SuspendingClock.Instant, to end: SuspendingClock.Instant, outcome: PortChanges.Outcome
    ) {
        lastStart = start
        lastCost = start.duration(to: end)
        lookAgainAt = outcome.lookAgainAt
        if outcome.sawDifference { lastDifference = end }
        followUps.removeAll { $0 <= start }
        if pendingEvent != nil {
            pendingEvent = nil
            followUps = []
            let mayRetry = lastRetries.map { $0.duration(to: end) >= Self.retryPause } ?? true
            if !outcome.sawDifference, mayRetry {
                lastRetries = end
                followUps = Self.retryDelays.map { end.advanced(by: $0) }
            }
            followUps.append(end.advanced(by: spacing))
        } else if outcome.sawDifference, let confirmation = followUps.last {
            followUps = [confirmation]
        }
    }

    private var spacing: Duration {
        min(max(settings.settleWindow, lastCost * 4), Self.longestSpacing)
    }

    private func idleInterval(at now: SuspendingClock.Instant) -> Duration {
        if isEventDriven { return settings.reconcileInterval }
        let isActive = lastDifference.duration(to: now) < settings.activePeriod
        return isActive ? settings.activePollInterval : settings.quietPollInterval
    }
}
