import Logging
package import Supervision
import Systemd

/// Decides whether the daemon as a whole still makes progress. Pure.
package enum StallDetector {
    /// The services whose last progress is older than the limit.
    package static func stalled(_ reports: [ServiceReport], limit: Duration) -> [ServiceReport] {
        reports.filter { $0.sinceProgress > limit }
    }
}

/// Answers systemd's watchdog for as long as every service makes progress; then it says who is stuck and falls silent.
package struct WatchdogService: SupervisedService {
    package let monitor: ServiceMonitor
    private let watched: [ServiceMonitor]
    private let limit: Duration
    private let interval: Duration
    private let ping: @Sendable () -> Void
    private let log: EventLog

    /// Creates a watchdog.
    ///
    /// - Parameters:
    ///   - watched: every other service.
    ///   - limit: how long a service may go without progress.
    ///   - timeout: systemd's watchdog timeout, nil where there is none; stalls are then only told.
    ///   - ping: answers the watchdog.
    package init(
        monitor: ServiceMonitor, watched: [ServiceMonitor], limit: Duration, timeout: Duration?,
        log: EventLog,
        ping: @escaping @Sendable () -> Void
    ) {
        self.monitor = monitor
        self.watched = watched
        self.limit = limit
        // Four chances within systemd's timeout, and never less often than a service's own heartbeat.
        self.interval = min(timeout.map { $0 / 4 } ?? Heartbeat.interval, Heartbeat.interval)
        self.ping = ping
        self.log = log
    }

    package func run() async throws {
        monitor.report(.ok(detail: "\(watched.count) services watched"))
        var told: Set<String> = []
        while !Task.isCancelled {
            monitor.progressed()
            told = look(told: told)
            try? await Task.sleep(for: interval, clock: .suspending)
        }
    }

    /// Looks once; returns the services that are stalled now.
    func look(told: Set<String>) -> Set<String> {
        let stalled = StallDetector.stalled(watched.map { $0.snapshot() }, limit: limit)
        for report in stalled where !told.contains(report.name) {
            log.record(
                .serviceStalled, level: .error,
                "service \(report.name) made no progress for \(report.sinceProgress.components.seconds) s; "
                    + "the watchdog is not answered any more, so that systemd restarts samd",
                ["service": report.name, "seconds": "\(report.sinceProgress.components.seconds)"])
        }
        if stalled.isEmpty { ping() }
        return Set(stalled.map(\.name))
    }
}
