import Supervision
import Synchronization
import Testing

@Suite struct ServiceMonitorTests {
    /// A clock that stands still until it is moved.
    final class HandClock: Sendable {
        private let instant = Mutex(SuspendingClock().now)
        var now: SuspendingClock.Instant { instant.withLock { $0 } }
        func advance(by duration: Duration) { instant.withLock { $0 = $0.advanced(by: duration) } }
    }

    @Test("A new monitor is starting and has just made progress")
    func new() {
        let clock = HandClock()
        let monitor = ServiceMonitor(name: "ports", now: { clock.now })
        let report = monitor.snapshot()
        #expect(report.name == "ports")
        #expect(report.health == .starting)
        #expect(report.sinceProgress == .zero)
    }

    @Test("The age of the last progress grows with the clock and ends with a stamp")
    func progress() {
        let clock = HandClock()
        let monitor = ServiceMonitor(name: "ports", now: { clock.now })
        clock.advance(by: .seconds(20))
        #expect(monitor.snapshot().sinceProgress == .seconds(20))
        monitor.progressed()
        #expect(monitor.snapshot().sinceProgress == .zero)
    }

    @Test("A report of health is no progress")
    func healthIsNoProgress() {
        let clock = HandClock()
        let monitor = ServiceMonitor(name: "ports", now: { clock.now })
        clock.advance(by: .seconds(3))
        monitor.report(.ok(detail: "12 listeners"))
        #expect(monitor.snapshot().sinceProgress == .seconds(3))
        #expect(monitor.snapshot().health == .ok(detail: "12 listeners"))
    }

    @Test("Each change of health is told once, with the service's name")
    func healthChanges() {
        let told = Mutex<[String]>([])
        let monitor = ServiceMonitor(
            name: "ports",
            onHealthChange: { name, health in
                told.withLock { $0.append("\(name): \(health.isDegraded)") }
            })
        monitor.report(.starting)
        monitor.report(.ok(detail: "1"))
        monitor.report(.ok(detail: "1"))
        monitor.report(.ok(detail: "2"))
        monitor.report(.degraded(reason: "no /proc", hint: nil))
        monitor.report(.degraded(reason: "no /proc", hint: nil))
        #expect(told.withLock { $0 } == ["ports: false", "ports: false", "ports: true"])
    }

    @Test("The callback may read the monitor: it is called outside the lock")
    func callbackReadsMonitor() {
        let box = Mutex<ServiceMonitor?>(nil)
        let seen = Mutex<ServiceHealth?>(nil)
        let monitor = ServiceMonitor(
            name: "ports",
            onHealthChange: { _, _ in
                let health = box.withLock { $0 }?.snapshot().health
                seen.withLock { $0 = health }
            })
        box.withLock { $0 = monitor }
        monitor.report(.ok(detail: "1"))
        #expect(seen.withLock { $0 } == .ok(detail: "1"))
    }

    @Test("Many tasks may stamp and read at once")
    func concurrent() async {
        let monitor = ServiceMonitor(name: "ports")
        await withTaskGroup { group in
            for number in 0..<8 {
                group.addTask {
                    for _ in 0..<1000 {
                        monitor.progressed()
                        monitor.report(.ok(detail: "\(number)"))
                        _ = monitor.snapshot()
                    }
                }
            }
        }
        #expect(!monitor.snapshot().health.isDegraded)
    }
}
