package import Supervision

/// Fault injection for tests of the watchdog: lets a service do its first round, then makes it stop for good.
///
/// Asked for with `SAMD_FAULT_STALL=<service>` in the daemon's environment; announced in the log at start.
package struct StalledService: SupervisedService {
    private let service: any SupervisedService

    package init(_ service: any SupervisedService) { self.service = service }

    package var monitor: ServiceMonitor { service.monitor }

    package func run() async throws {
        let work = Task { try await service.run() }
        while monitor.snapshot().health == .starting, !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(20), clock: .suspending)
        }
        work.cancel()
        _ = try? await work.value
        try? await Task.sleep(for: .seconds(86_400 * 365), clock: .suspending)
    }
}
