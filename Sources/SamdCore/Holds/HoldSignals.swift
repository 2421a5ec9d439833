package import IdleDetector
import Synchronization

/// What holds the machine now, for those who cannot wait for the keeper.
package final class HoldSignals: Sendable {
    private let signals = Mutex<[Signal]>([])

    package init() {}

    package func set(_ signals: [Signal]) { self.signals.withLock { $0 = signals } }

    /// Without those whose time is up.
    package func signals(now: Moment) -> [Signal] {
        signals.withLock { $0.filter { signal in signal.until.map { now < $0 } ?? true } }
    }
}
