import Testing

@testable import PortWatcher

@Suite struct ScanScheduleTests {
    private let start = SuspendingClock().now
    private var schedule: ScanSchedule

    init() { schedule = ScanSchedule(at: start) }

    private func at(_ delay: Duration) -> SuspendingClock.Instant { start.advanced(by: delay) }
    private var due: Duration { start.duration(to: schedule.nextScan) }

    private mutating func scan(
        at delay: Duration, cost: Duration = .zero, sawDifference: Bool = false, lookAgainAt: Duration? = nil
    ) {
        schedule.scanned(
            from: at(delay), to: at(delay + cost),
            outcome: PortChanges.Outcome(
                snapshot: nil, sawDifference: sawDifference, lookAgainAt: lookAgainAt.map { at($0) }))
    }

    /// Scans whenever one is due until `end`, and says when.
    private mutating func scans(until end: Duration) -> [Duration] {
        var made: [Duration] = []
        while due <= end {
            made.append(due)
            scan(at: due)
        }
        return made
    }

    /// With events, and nothing open.
    private mutating func quietWithEvents() {
        schedule.switched(toEvents: true, at: start)
        scan(at: .zero, sawDifference: true)
        scan(at: due)
    }

    @Test("The first scan is due at once")
    func first() { #expect(due == .zero) }

    @Test("Without events, scans follow each second for two minutes after a change, then each five")
    mutating func polling() {
        scan(at: .zero)
        #expect(due == .seconds(1))
        scan(at: .seconds(119))
        #expect(due == .seconds(120))
        scan(at: .seconds(120))
        #expect(due == .seconds(125))
        scan(at: .seconds(125), sawDifference: true)
        #expect(due == .seconds(126))
    }

    @Test("With events, a scan follows every 15 s")
    mutating func reconciling() {
        quietWithEvents()
        #expect(due == .milliseconds(15_020))
    }

    @Test("An event after a pause is answered at once, and the answer confirmed after 20 ms")
    mutating func leadingEvent() {
        quietWithEvents()
        schedule.kernelEvent(at: at(.seconds(1)))
        #expect(due == .seconds(1))
        scan(at: .seconds(1), sawDifference: true)
        #expect(due == .milliseconds(1020))
        #expect(!schedule.isConfirmation(at: at(.milliseconds(1019))))
        #expect(schedule.isConfirmation(at: at(.milliseconds(1020))))
        scan(at: .milliseconds(1020))
        #expect(!schedule.isConfirmation(at: at(.milliseconds(1020))))
        #expect(due == .milliseconds(16_020))
    }

    @Test("An answer that saw nothing new is repeated after 2, 10 and 20 ms")
    mutating func retries() {
        quietWithEvents()
        schedule.kernelEvent(at: at(.seconds(1)))
        #expect(
            scans(until: .seconds(2)) == [
                .seconds(1), .milliseconds(1002), .milliseconds(1010), .milliseconds(1020),
            ])
    }

    @Test("A repeated answer that saw something new leaves only the confirmation")
    mutating func retriesEnd() {
        quietWithEvents()
        schedule.kernelEvent(at: at(.seconds(1)))
        scan(at: .seconds(1))
        scan(at: .milliseconds(1002), sawDifference: true)
        #expect(scans(until: .seconds(2)) == [.milliseconds(1020)])
    }

    @Test("A storm of events costs one scan in 20 ms, and three more each half second")
    mutating func storm() {
        quietWithEvents()
        var made = 0
        for millisecond in 1000..<6000 {
            schedule.kernelEvent(at: at(.milliseconds(millisecond)))
            while due <= .milliseconds(millisecond) {
                scan(at: .milliseconds(millisecond))
                made += 1
            }
        }
        #expect(made <= 5000 / 20 + 10 * 3)
    }

    @Test("Where a scan takes long, events get a fifth of the time, and wait a second at most")
    mutating func expensiveScans() {
        schedule.switched(toEvents: true, at: start)
        scan(at: .zero, cost: .milliseconds(100), sawDifference: true)
        schedule.kernelEvent(at: at(.milliseconds(100)))
        #expect(due == .milliseconds(400))
        scan(at: .milliseconds(400), cost: .seconds(3), sawDifference: true)
        schedule.kernelEvent(at: at(.milliseconds(3400)))
        #expect(due == .milliseconds(3400))
    }

    @Test("An open decision is looked at when it asks to be")
    mutating func openDecision() {
        quietWithEvents()
        scan(at: .seconds(1), lookAgainAt: .seconds(4))
        #expect(due == .seconds(4))
    }

    @Test("A change of the source is followed by a scan: events may have been missed")
    mutating func switching() {
        scan(at: .zero)
        schedule.switched(toEvents: true, at: at(.milliseconds(500)))
        #expect(due == .milliseconds(500))
        quietWithEvents()
        schedule.switched(toEvents: false, at: at(.milliseconds(700)))
        #expect(due == .milliseconds(700))
    }
}
