/// Tells of groups of processes when each last made progress: pure.
///
/// What is metered are differences of each process's counters, not sums of a group's: processes come and go, and what
/// an ended child used moves into its parent's counters, where it must not count again. A process that was there before
/// and is seen here for the first time begins at what it has used already.
package struct ProgressMeter<Group: Hashable> {
    /// Processes between an ended one and the ancestor that it was added to.
    private static var ancestorLimit: Int { 64 }

    private struct Sample {
        var startTime: UInt64
        var parent: Int32
        var cpuTicks: UInt64
        var childTicks: UInt64
        /// Nil: not read yet.
        var ioBytes: UInt64?
        /// What ended children had moved that will be in the next reading, and has counted as theirs.
        var ioCounted: UInt64 = 0
    }

    private struct Spent {
        var own: UInt64
        var children: UInt64
        var io: UInt64
        var isIORead: Bool
    }

    private struct Windows {
        var cpu: ProgressWindow
        var io: ProgressWindow

        init(at start: Moment) {
            cpu = ProgressWindow(at: start)
            io = ProgressWindow(at: start)
        }

        var lastProgress: Moment? {
            guard let cpu = cpu.lastProgress, let io = io.lastProgress else {
                return cpu.lastProgress ?? io.lastProgress
            }
            return max(cpu, io)
        }
    }

    private let floor: ProgressFloor
    private var samples: [Int32: Sample] = [:]
    private var windows: [Group: Windows] = [:]
    private var lastTable: Moment?
    /// The start of the youngest process of the last table: what started later was not there then.
    private var youngest: UInt64 = 0

    package init(floor: ProgressFloor = ProgressFloor()) { self.floor = floor }

    /// When the group last made progress; nil: not since it is watched.
    package func lastProgress(of group: Group) -> Moment? { windows[group]?.lastProgress }

    /// Takes in a sweep. Groups that are not among `members` are forgotten.
    ///
    /// - Parameters:
    ///   - members: the processes of each group; a process is in one group only.
    ///   - others: processes of no group, whose end must not look like progress of a member that waited for them.
    ///   - ioBytes: what a process has moved so far, its waited-for children included; nil: not looked at now.
    package mutating func feed(
        _ table: ProcessTable, members: [Group: [Int32]], others: some Sequence<Int32> = EmptyCollection(),
        ioBytes: (Int32) -> UInt64? = { _ in nil }
    ) {
        // Probes may be asked more often than processes are swept.
        guard table.at != lastTable else {
            for group in members.keys where windows[group] == nil { windows[group] = Windows(at: table.at) }
            return
        }
        var current: [Int32: Sample] = [:]
        current.reserveCapacity(samples.count)
        var spent: [Int32: Spent] = [:]
        for pids in members.values {
            for pid in pids {
                guard let entry = table.entries[pid] else { continue }
                let (sample, difference) = sample(entry, ioBytes: ioBytes(pid))
                current[pid] = sample
                spent[pid] = difference
            }
        }
        for pid in others {
            if let entry = table.entries[pid] { current[pid] = sample(entry, ioBytes: nil).0 }
        }
        discountEnded(&current, &spent)
        for (group, pids) in members {
            var window = windows[group] ?? Windows(at: lastTable ?? table.at)
            let parts = pids.compactMap { spent[$0] }
            let ticks = parts.reduce(0) { $0 &+ $1.own &+ $1.children }
            window.cpu.add(ticks, at: table.at, window: floor.window, needed: floor.neededTicks)
            // Only what was read can be told: between readings it is not nothing.
            if parts.contains(where: \.isIORead) {
                let bytes = parts.reduce(0) { $0 &+ $1.io }
                window.io.add(bytes, at: table.at, window: floor.window, needed: floor.neededBytes)
            }
            windows[group] = window
        }
        windows = windows.filter { members[$0.key] != nil }
        samples = current
        youngest = table.entries.values.reduce(0) { max($0, $1.startTime) }
        lastTable = table.at
    }

    private func sample(_ entry: ProcessEntry, ioBytes: UInt64?) -> (Sample, Spent) {
        let known = samples[entry.pid].flatMap { $0.startTime == entry.startTime ? $0 : nil }
        // One that was started since the last sweep has spent all of it since then.
        let isNew = known == nil && lastTable != nil && entry.startTime > youngest
        let before =
            known
            ?? Sample(
                startTime: entry.startTime, parent: entry.parent, cpuTicks: isNew ? 0 : entry.cpuTicks,
                childTicks: isNew ? 0 : entry.childTicks, ioBytes: isNew ? 0 : nil)
        let own = Self.difference(
            entry.cpuTicks &- min(entry.cpuTicks, entry.childTicks),
            before.cpuTicks &- min(before.cpuTicks, before.childTicks))
        let moved = ioBytes.flatMap { now in before.ioBytes.map { Self.difference(now, $0) } } ?? 0
        return (
            Sample(
                startTime: entry.startTime, parent: entry.parent, cpuTicks: entry.cpuTicks,
                childTicks: entry.childTicks, ioBytes: ioBytes ?? before.ioBytes, ioCounted: before.ioCounted),
            Spent(
                own: own, children: Self.difference(entry.childTicks, before.childTicks), io: moved,
                isIORead: ioBytes != nil)
        )
    }

    /// Takes what ended processes had spent when they were last seen off what their parents' counters grew by. Where a
    /// parent ended as well, both went to the next above.
    private func discountEnded(_ current: inout [Int32: Sample], _ spent: inout [Int32: Spent]) {
        for (pid, sample) in samples where current[pid]?.startTime != sample.startTime {
            var ancestor = sample.parent
            for _ in 0..<Self.ancestorLimit {
                guard let above = samples[ancestor] else { break }
                if let now = current[ancestor], now.startTime == above.startTime {
                    let children = spent[ancestor]?.children ?? 0
                    spent[ancestor]?.children = Self.difference(children, sample.cpuTicks)
                    current[ancestor]?.ioCounted &+= sample.ioBytes ?? 0
                    break
                }
                ancestor = above.parent
            }
        }
        for (pid, difference) in spent where difference.isIORead {
            spent[pid]?.io = Self.difference(difference.io, current[pid]?.ioCounted ?? 0)
            current[pid]?.ioCounted = 0
        }
    }

    /// Never below nothing: counters of a process go back when the kernel scales user and system time anew.
    private static func difference(_ now: UInt64, _ before: UInt64) -> UInt64 {
        now > before ? now - before : 0
    }
}
