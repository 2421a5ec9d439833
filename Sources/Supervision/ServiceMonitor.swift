// Supervision: what a long-running part of the daemon owes the rest of it.
//
// A service has one method, `run()`. While it runs it tells its `ServiceMonitor` two things: that it still makes
// progress (the watchdog reads the stamp) and how it fares (status, metrics and the log read the health).

import Synchronization

/// How a service fares, in words an operator can act on.
public enum ServiceHealth: Sendable, Equatable {
    /// Not yet done with its first round.
    case starting
    /// Does its job; `detail` says how much of it, for example `"3 routes"`.
    case ok(detail: String)
    /// Runs, but cannot do its job now. `reason` says what is wrong, `hint` what to do about it.
    case degraded(reason: String, hint: String?)

    /// Whether the service cannot do its job now.
    public var isDegraded: Bool {
        if case .degraded = self { true } else { false }
    }
}

/// What the watchdog and the status report read about one service.
public struct ServiceReport: Sendable, Equatable {
    /// The service's name, for example `"ports"`.
    public var name: String
    /// Its health as last reported.
    public var health: ServiceHealth
    /// Time since it last made progress.
    public var sinceProgress: Duration
}

/// The line between one service, which writes, and the watchdog and status report, which read.
///
/// Safe to share: all state sits behind one mutex and no call blocks for longer than a copy.
public final class ServiceMonitor: Sendable {
    /// The service's name, for example `"ports"`; also the value of the journal field `SAMD_SERVICE`.
    public let name: String
    private let now: @Sendable () -> SuspendingClock.Instant
    private let onHealthChange: @Sendable (String, ServiceHealth) -> Void
    private let state: Mutex<State>

    private struct State {
        var health = ServiceHealth.starting
        var lastProgress: SuspendingClock.Instant
    }

    /// Creates a monitor whose service counts as having made progress just now.
    ///
    /// - Parameters:
    ///   - name: the service's name, unique within the daemon.
    ///   - now: the clock. `SuspendingClock` is CLOCK_MONOTONIC on Linux, which is also what systemd's watchdog counts in.
    ///   - onHealthChange: called once per change of health, outside the lock, on the reporting task.
    public init(
        name: String,
        now: @escaping @Sendable () -> SuspendingClock.Instant = { SuspendingClock().now },
        onHealthChange: @escaping @Sendable (String, ServiceHealth) -> Void = { _, _ in }
    ) {
        self.name = name
        self.now = now
        self.onHealthChange = onHealthChange
        self.state = Mutex(State(lastProgress: now()))
    }

    /// Stamps progress. A service calls this at least once per `Heartbeat.interval`, also while it only waits.
    public func progressed() {
        let instant = now()
        state.withLock { $0.lastProgress = instant }
    }

    /// Records the service's health; equal values in a row are one.
    public func report(_ health: ServiceHealth) {
        let changed = state.withLock { state in
            defer { state.health = health }
            return state.health != health
        }
        if changed { onHealthChange(name, health) }
    }

    /// The service's health and the age of its last progress.
    public func snapshot() -> ServiceReport {
        let instant = now()
        return state.withLock { state in
            ServiceReport(
                name: name, health: state.health, sinceProgress: state.lastProgress.duration(to: instant))
        }
    }
}

/// A long-running part of the daemon.
///
/// `run()` returns when its task is cancelled and throws only when the daemon cannot go on; everything that may
/// come back by itself (Caddy away, a namespace gone) is handled inside and shown as `.degraded` health.
public protocol SupervisedService: Sendable {
    /// Where the service stamps progress and reports health.
    var monitor: ServiceMonitor { get }
    /// Does the service's work until cancelled.
    func run() async throws
}

/// Bounds that hold for every service.
public enum Heartbeat {
    /// A waiting service wakes at least this often to stamp progress. Well below any sensible stall limit.
    public static let interval: Duration = .seconds(1)
}
