/// When which probe looks, and what all of them saw: the monitor without its thread. Confined to one thread.
struct LookRounds {
    /// A probe and what it last said. What it saw stays when it fails: it may be there still.
    private struct Slot {
        var probe: any ActivityProbe
        var nextLook: Moment
        var findings = ProbeFindings()
        var report: ProbeReport
        var isDue = true
    }

    /// How often it is looked for new Claude processes.
    static let newcomerInterval: Duration = .seconds(1)
    /// How often all processes are read.
    static let tableInterval: Duration = .seconds(15)
    /// A table for a Claude that came or went; not more often than this, however many do.
    static let eventTableInterval: Duration = .milliseconds(500)
    /// A snapshot is told at least this often, so that its reader knows that somebody looks.
    static let toldInterval: Duration = .seconds(15)
    /// Probes that hear of a Claude that came, went or changed.
    private static let claudeProbes: Set<String> = ["claude", "tools"]
    /// Tools begin a moment after their session tells that it is busy.
    private static let toolDelay: Duration = .milliseconds(700)

    private var source: any ProcessSource
    private var slots: [Slot]
    private var table: ProcessTable?
    /// How reading the processes fares: what all other probes go by.
    private var tableReport = ProbeReport(name: "processes")
    private(set) var claude: [Int32: String] = [:]
    private var nextTable: Moment
    private var nextNewcomers: Moment
    private var wantsTable = true
    private var told: ActivitySnapshot?
    /// Which probe looks now, for whoever wonders why nothing happens.
    private let onLook: (String?) -> Void

    init(
        source: any ProcessSource, probes: [any ActivityProbe], now: Moment,
        onLook: @escaping (String?) -> Void = { _ in }
    ) {
        self.source = source
        self.onLook = onLook
        nextTable = now
        nextNewcomers = now + Self.newcomerInterval
        slots = probes.map { Slot(probe: $0, nextLook: now, report: ProbeReport(name: $0.name)) }
    }

    /// What wakes a round: each probe's descriptor.
    var wakeDescriptors: [Int32] { slots.compactMap(\.probe.wakeDescriptor) }

    /// When the next round is due although nothing wakes it.
    var due: Moment {
        let looks = slots.map { min($0.nextLook, $0.probe.wantsSoon ?? $0.nextLook) }
        return ([nextNewcomers, nextTable] + looks).min() ?? nextNewcomers
    }

    /// One round.
    ///
    /// - Parameters:
    ///   - readable: the wake descriptors that became readable.
    ///   - hasClaudeEnded: whether a Claude process was seen to end.
    /// - Returns: the snapshot when it is news, or its time has come.
    mutating func round(now: Moment, readable: Set<Int32>, hasClaudeEnded: Bool) -> ActivitySnapshot? {
        var isClaudeNews = hasClaudeEnded
        if now >= nextNewcomers {
            nextNewcomers = now + Self.newcomerInterval
            isClaudeNews = source.hasNewClaude() || isClaudeNews
        }
        if isClaudeNews {
            wantsTable = true
            nextTable = min(nextTable, max(now, (table?.at ?? now) + Self.eventTableInterval))
        }
        if now >= nextTable { readTable(now, isClaudeNews: wantsTable) }
        for index in slots.indices {
            let slot = slots[index]
            let isWoken = slot.probe.wakeDescriptor.map { readable.contains($0) } ?? false
            let wanted = min(slot.nextLook, slot.probe.wantsSoon ?? slot.nextLook)
            guard slot.isDue || isWoken || now >= wanted else { continue }
            look(index, now: now)
            if isWoken, slot.probe.name == "claude" { lookSoonAtTools(now) }
        }
        return snapshot(now)
    }

    private mutating func readTable(_ now: Moment, isClaudeNews: Bool) {
        nextTable = now + Self.tableInterval
        onLook("processes")
        defer { onLook(nil) }
        var isClaudeNews = isClaudeNews
        do throws(ProbeFailure) {
            let new = try source.table(at: now)
            table = new
            let before = claude
            claude = source.claude(in: new)
            isClaudeNews = isClaudeNews || claude != before
            if let unreadable = new.unreadable {
                tableReport.fail(
                    "\(unreadable.count) processes cannot be looked at (\(unreadable.reason))", at: now)
            } else {
                tableReport = ProbeReport(name: tableReport.name, lastLook: now)
            }
        } catch {
            tableReport.fail(error.description, at: now)
        }
        wantsTable = false
        for index in slots.indices where isClaudeNews && Self.claudeProbes.contains(slots[index].probe.name) {
            slots[index].isDue = true
        }
    }

    private mutating func lookSoonAtTools(_ now: Moment) {
        for index in slots.indices where slots[index].probe.name == "tools" {
            slots[index].nextLook = min(slots[index].nextLook, now + Self.toolDelay)
        }
        nextTable = min(nextTable, now + Self.toolDelay)
    }

    private mutating func look(_ index: Int, now: Moment) {
        slots[index].isDue = false
        // After the look: how long a probe rests may depend on what it saw.
        defer { slots[index].nextLook = now + slots[index].probe.interval }
        guard let table else { return slots[index].report.fail("no processes were read yet", at: now) }
        onLook(slots[index].probe.name)
        defer { onLook(nil) }
        do throws(ProbeFailure) {
            let findings = try slots[index].probe.look(
                LookContext(now: now, processes: table, claude: claude))
            slots[index].findings = findings
            if let blindSpot = findings.blindSpot {
                slots[index].report.fail(blindSpot, at: now)
            } else {
                slots[index].report = ProbeReport(
                    name: slots[index].report.name, lastLook: now, reason: findings.note)
            }
        } catch {
            slots[index].report.fail(error.description, at: now)
        }
    }

    private mutating func snapshot(_ now: Moment) -> ActivitySnapshot? {
        let signals = slots.flatMap(\.findings.signals).sorted { $0.id < $1.id }
        let snapshot = ActivitySnapshot(
            at: now, signals: ActivitySnapshot.bounded(signals),
            probes: [tableReport] + slots.map(\.report))
        if let told, now - told.at < Self.toldInterval, snapshot.says(theSameAs: told) { return nil }
        told = snapshot
        return snapshot
    }
}

extension ProbeReport {
    fileprivate mutating func fail(_ why: String, at now: Moment) {
        failingSince = failingSince ?? now
        reason = why
    }
}

extension ActivitySnapshot {
    /// Whether nothing is different but the times of looking.
    package func says(theSameAs other: ActivitySnapshot) -> Bool {
        signals == other.signals && probes.count == other.probes.count
            && zip(probes, other.probes).allSatisfy {
                $0.name == $1.name && $0.failingSince == $1.failingSince && $0.reason == $1.reason
                    && ($0.lastLook == nil) == ($1.lastLook == nil)
            }
    }
}
