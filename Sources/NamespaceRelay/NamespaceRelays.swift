package import Supervision

package final class NamespaceRelays: SupervisedService {
    package let monitor: ServiceMonitor
    package init(
        monitor: ServiceMonitor, folder: String, maximumConnections: Int = 2048,
        mayConnect: @escaping @Sendable (UInt32) -> Bool
    ) {
        self.monitor = monitor
    }
    package func set(_ targets: [RelayTarget]) -> [String: Result<String, RelayError>] {
        var results: [String: Result<String, RelayError>] = [:]
        for target in targets {
            results[target.name] = .failure(RelayError("listen on", target.name, .stopped))
        }
        return results
    }
    package func endConnections(of name: String) -> Int { 0 }
    package func statistics() -> [String: RelayStatistics] { [:] }
    package func run() async throws {
        while !Task.isCancelled {
            monitor.progressed()
            try? await SuspendingClock().sleep(for: Heartbeat.interval)
        }
    }
}
