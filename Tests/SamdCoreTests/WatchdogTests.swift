import Logging
import Supervision
import Synchronization
import Testing

@testable import SamdCore

/// A log that nobody reads but the test.
func quietLog() -> EventLog { EventLog(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) }

@Suite struct WatchdogTests {
    private final class FakeClock: Sendable {
        private let offset = Mutex(Duration.zero)
        private let start = SuspendingClock().now
        var now: SuspendingClock.Instant { start + offset.withLock { $0 } }
        func advance(_ duration: Duration) { offset.withLock { $0 += duration } }
    }

    @Test func `the watchdog is answered while every service makes progress, and not while one is stuck`() {
        let clock = FakeClock()
        let log = quietLog()
        let pings = Mutex(0)
        let lively = ServiceMonitor(name: "lively", now: { clock.now })
        let stuck = ServiceMonitor(name: "stuck", now: { clock.now })
        let watchdog = WatchdogService(
            monitor: ServiceMonitor(name: "watchdog"), watched: [lively, stuck], limit: .seconds(20),
            timeout: nil,
            log: log, ping: { pings.withLock { $0 += 1 } })

        var told = watchdog.look(told: [])
        #expect(told.isEmpty && pings.withLock { $0 } == 1)

        clock.advance(.seconds(21))
        lively.progressed()
        told = watchdog.look(told: told)
        told = watchdog.look(told: told)
        #expect(told == ["stuck"] && pings.withLock { $0 } == 1)
        let events = log.events(after: 0).filter { $0.type == "service.stalled" }
        #expect(events.count == 1 && events.first?.data["service"] == "stuck", "a stall is told once")

        stuck.progressed()
        told = watchdog.look(told: told)
        #expect(told.isEmpty && pings.withLock { $0 } == 2)
    }
}
