import Testing

@testable import IdleDetector

@Suite("Progress of processes")
struct ProgressMeterTests {
    /// Tables of processes at moments that are counted in seconds.
    private struct Machine {
        var meter = ProgressMeter<String>()
        var entries: [Int32: ProcessEntry] = [:]
        var groups: [String: [Int32]] = [:]
        var io: [Int32: UInt64] = [:]

        mutating func start(
            _ pid: Int32, _ group: String, parent: Int32 = 1, at tick: UInt64, ticks: UInt64 = 0
        ) {
            entries[pid] = ProcessEntry(
                pid: pid, parent: parent, group: pid, session: pid, startTime: tick, cpuTicks: ticks,
                name: "p",
                uid: 1000)
            groups[group, default: []].append(pid)
        }

        /// Ends a process whose parent waits for it.
        mutating func end(_ pid: Int32, usingMore ticks: UInt64 = 0) {
            guard let entry = entries.removeValue(forKey: pid) else { return }
            for group in groups.keys { groups[group]?.removeAll { $0 == pid } }
            entries[entry.parent]?.cpuTicks += entry.cpuTicks + ticks
            entries[entry.parent]?.childTicks += entry.cpuTicks + ticks
            let moved = io.removeValue(forKey: pid) ?? 0
            io[entry.parent]? += moved
        }

        mutating func use(_ pid: Int32, _ ticks: UInt64) { entries[pid]?.cpuTicks += ticks }

        mutating func sweep(at second: Int64, readingIO: Bool = false) {
            let io = io
            meter.feed(
                ProcessTable(at: Machine.moment(second), entries: entries), members: groups,
                ioBytes: { readingIO ? io[$0] : nil })
        }

        static func moment(_ second: Int64) -> Moment { Moment(milliseconds: second * 1000) }

        func progress(_ group: String) -> Int64? {
            meter.lastProgress(of: group).map { $0.milliseconds / 1000 }
        }
    }

    @Test("what processes used before they were first seen is no progress")
    func baseline() {
        var machine = Machine()
        machine.start(10, "a", at: 100, ticks: 1_000_000)
        machine.io[10] = 1 << 40
        machine.sweep(at: 0, readingIO: true)
        machine.start(11, "b", at: 90, ticks: 1_000_000)
        machine.io[11] = 1 << 40
        machine.sweep(at: 15, readingIO: true)
        machine.sweep(at: 30, readingIO: true)
        #expect(machine.progress("a") == nil && machine.progress("b") == nil)
    }

    @Test("a process that was started since the last sweep has used all of its CPU since then")
    func newcomer() {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.sweep(at: 0)
        machine.start(11, "b", at: 101, ticks: 180)
        machine.sweep(at: 15)
        #expect(machine.progress("b") == 15 && machine.progress("a") == nil)
    }

    @Test(
        "progress begins at 3 % of a core, over a minute", arguments: [(44, false), (45, true), (46, true)])
    func floor(ticksPerSweep: UInt64, isProgress: Bool) {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.sweep(at: 0)
        for sweep in 1...40 {
            machine.use(10, ticksPerSweep)
            machine.sweep(at: Int64(sweep) * 15)
        }
        #expect((machine.progress("a") != nil) == isProgress)
        if isProgress { #expect(machine.progress("a").map { $0 >= 540 } == true) }
    }

    @Test("enough for a whole minute counts at once, and once")
    func burst() {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.sweep(at: 0)
        machine.use(10, 500)
        machine.sweep(at: 5)
        #expect(machine.progress("a") == 5)
        for second in stride(from: 10, through: 300, by: 5) { machine.sweep(at: Int64(second)) }
        #expect(machine.progress("a") == 5)
    }

    @Test("a burst that two minutes share counts")
    func slidingWindow() {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        for sweep in 0...20 {
            // 0.95 s at 60 s and at 75 s.
            if sweep == 4 || sweep == 5 { machine.use(10, 95) }
            machine.sweep(at: Int64(sweep) * 15)
        }
        #expect(machine.progress("a") == 75)
    }

    @Test("over a pause of the daemon the average counts: no less, no more")
    func pause() {
        for (ticks, isProgress) in [(UInt64(1790), false), (1800, true)] {
            var machine = Machine()
            machine.start(10, "a", at: 100)
            for sweep in 0...8 { machine.sweep(at: Int64(sweep) * 15) }
            machine.use(10, ticks)
            machine.sweep(at: 120 + 600)
            #expect((machine.progress("a") == 720) == isProgress)
        }
    }

    @Test("an ended child's CPU counts once, although it moves into its parent's")
    func endedChild() {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.start(11, "b", parent: 10, at: 101)
        machine.sweep(at: 0)
        machine.use(11, 5000)
        machine.sweep(at: 15)
        #expect(machine.progress("b") == 15)
        machine.end(11, usingMore: 100)
        machine.sweep(at: 30)
        #expect(machine.progress("a") == nil, "only what it used at the end is new")
        machine.use(10, 80)
        machine.sweep(at: 45)
        #expect(machine.progress("a") == 45)
    }

    @Test("of a whole tree that ended, only what it used at the end counts for who waited for it")
    func endedTree() {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.start(11, "b", parent: 10, at: 101)
        machine.start(12, "b", parent: 11, at: 102)
        machine.sweep(at: 0)
        machine.use(11, 1000)
        machine.use(12, 1000)
        machine.sweep(at: 15)
        machine.end(12)
        machine.end(11, usingMore: 10)
        machine.sweep(at: 30)
        #expect(machine.progress("a") == nil)
    }

    @Test("children that live less than a sweep count through their parent")
    func shortChildren() {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.sweep(at: 0)
        machine.start(11, "a", parent: 10, at: 200, ticks: 200)
        machine.end(11)
        machine.sweep(at: 15)
        #expect(machine.progress("a") == 15)
    }

    @Test("a process that ends without being waited for takes nothing away from the others")
    func vanished() {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.start(11, "a", parent: 10, at: 101)
        machine.sweep(at: 0)
        machine.use(11, 100_000)
        machine.sweep(at: 15)
        machine.entries[11] = nil
        machine.use(10, 200)
        machine.sweep(at: 30)
        #expect(machine.progress("a") == 30)
    }

    @Test("a pid that is used again is another process")
    func reusedPid() {
        var machine = Machine()
        machine.start(10, "a", at: 100, ticks: 1000)
        machine.sweep(at: 0)
        machine.entries[10] = nil
        machine.groups = [:]
        machine.start(10, "a", at: 300, ticks: 300)
        machine.sweep(at: 15)
        #expect(machine.progress("a") == 15)
    }

    @Test(
        "bytes count as CPU does, and are read more rarely",
        arguments: [(2_090_000, false), (2_100_000, true)])
    func bytes(perHalfMinute: UInt64, isProgress: Bool) {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.io[10] = 1 << 40
        machine.sweep(at: 0, readingIO: true)
        for sweep in 1...20 {
            if sweep % 2 == 0 { machine.io[10]? += perHalfMinute }
            machine.sweep(at: Int64(sweep) * 15, readingIO: sweep % 2 == 0)
        }
        #expect((machine.progress("a") != nil) == isProgress)
    }

    @Test("an ended child's bytes count once, also when its parent is read later")
    func endedChildBytes() {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.start(11, "b", parent: 10, at: 101)
        machine.io = [10: 1000, 11: 1000]
        machine.sweep(at: 0, readingIO: true)
        machine.io[11]? += 100 << 20
        machine.sweep(at: 30, readingIO: true)
        #expect(machine.progress("b") == 30)
        machine.end(11)
        machine.sweep(at: 45)
        machine.sweep(at: 60, readingIO: true)
        #expect(machine.progress("a") == nil)
    }

    @Test("the same table again, and groups that are gone, change nothing")
    func repeated() {
        var machine = Machine()
        machine.start(10, "a", at: 100)
        machine.sweep(at: 0)
        machine.use(10, 180)
        machine.sweep(at: 0)
        #expect(machine.progress("a") == nil)
        machine.sweep(at: 15)
        #expect(machine.progress("a") == 15)
        machine.groups = [:]
        machine.sweep(at: 30)
        #expect(machine.progress("a") == nil)
    }
}
