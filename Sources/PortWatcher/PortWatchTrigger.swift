import Synchronization

/// What wakes the port watcher's loop.
package enum PortWatchTrigger: Sendable, Equatable {
    /// The instant that the loop asked for has come, or may have.
    case alarm
    /// Something began or ceased to listen.
    case kernelEvent
    /// Kernel events are to be had from now on, or no more.
    case wakeUpSource(WakeUpSource)
}

/// Yields `.alarm` at the earliest instant asked for.
final class Alarm: Sendable {
    private struct State {
        var due: SuspendingClock.Instant?
        var task: Task<Void, Never>?
    }

    private let feed: AsyncStream<PortWatchTrigger>.Continuation
    private let state = Mutex(State())

    /// Creates an alarm that is not set.
    init(feed: AsyncStream<PortWatchTrigger>.Continuation) {
        self.feed = feed
    }

    /// Rings at `instant` at the latest; an earlier time that is already set stays.
    func set(_ instant: SuspendingClock.Instant) {
        state.withLock { state in
            if let due = state.due, due <= instant { return }
            state.task?.cancel()
            state.due = instant
            state.task = Task { [weak self] in
                guard (try? await SuspendingClock().sleep(until: instant)) != nil else { return }
                self?.ring(instant)
            }
        }
    }

    /// Never rings again unless set again.
    func cancel() {
        state.withLock { state in
            state.task?.cancel()
            state = State()
        }
    }

    private func ring(_ instant: SuspendingClock.Instant) {
        let isDue = state.withLock { state in
            guard state.due == instant else { return false }
            state = State()
            return true
        }
        if isDue { feed.yield(.alarm) }
    }
}
