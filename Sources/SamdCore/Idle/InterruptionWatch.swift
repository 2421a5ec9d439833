package import IdleDetector

/// Whether something worked when the machine went down, and what follows from that in the next boot. Pure.
package struct InterruptionWatch: Sendable {
    /// What is on disk, not bound to a boot.
    package struct Record: Codable, Sendable, Equatable {
        package var bootID: String
        /// What works now, or did within `InterruptionWatch.linger`; nil: nothing.
        package var work: String?
        /// Reboots in the middle of work in a row, since a human did something.
        package var interruptions = 0
        /// What the last reboot interrupted, and until when (in this boot) that keeps the machine.
        package var interrupted: String?
        package var keptUntil: Moment?
    }

    /// What the start of samd found.
    package enum Finding: Sendable, Equatable {
        case nothing
        /// `work` was interrupted for the `count`th time; `keptUntil` is nil beyond the limit.
        case interrupted(work: String, count: Int, keptUntil: Moment?)
    }

    /// Work that ended so recently counts as interrupted: a shutdown ends it a moment before samd.
    static let linger: Duration = .seconds(60)
    /// What works is named anew at most so often: each time the record is written.
    static let namePause: Duration = .seconds(60)
    private static let longestText = 200

    package private(set) var record: Record
    package let finding: Finding
    private var lastWork: Moment?
    private var namedAt = Moment.boot
    private let startedAt: Moment

    /// Begins in a boot with what the last run of samd left.
    package init(after last: Record?, bootID: String, now: Moment, settings: IdleSettings) {
        startedAt = now
        var record = last ?? Record(bootID: bootID)
        var finding = Finding.nothing
        if record.bootID == bootID {
            if record.work != nil { lastWork = now }
        } else {
            let work = record.work
            record = Record(bootID: bootID, interruptions: record.interruptions)
            if let work {
                record.interruptions += 1
                if record.interruptions <= settings.interruptionLimit, settings.interruptionGrant > .zero {
                    record.interrupted = work
                    record.keptUntil = now + settings.interruptionGrant
                }
                finding = .interrupted(work: work, count: record.interruptions, keptUntil: record.keptUntil)
            }
        }
        self.record = record
        self.finding = finding
    }

    /// Takes note of a verdict; true when the record changed.
    package mutating func observe(_ verdict: IdleVerdict) -> Bool {
        let before = record
        if let work = verdict.holding.first(where: { $0.kind?.isInterruptible == true }) {
            lastWork = verdict.at
            if record.work == nil || verdict.at - namedAt >= Self.namePause {
                record.work = String(work.text.prefix(Self.longestText))
                namedAt = verdict.at
            }
        } else if let last = lastWork, verdict.at - last >= Self.linger {
            lastWork = nil
            record.work = nil
        }
        if verdict.lastHuman.map({ $0 >= startedAt }) == true { record.interruptions = 0 }
        return record != before
    }

    /// When the record changes although no verdict does.
    package var nextAt: Moment? { record.work == nil ? nil : lastWork.map { $0 + Self.linger } }

    /// The interruption as evidence, as long as it keeps the machine.
    package func signals(_ now: Moment) -> [Signal] {
        guard let work = record.interrupted, let end = record.keptUntil, now < end else { return [] }
        return [
            Signal(
                id: "interrupted", kind: .interrupted, subject: work, since: min(startedAt, now), until: end)
        ]
    }
}

extension Signal.Kind {
    /// Work that a reboot interrupts; a session that would have gone on later is none.
    fileprivate var isInterruptible: Bool { isWork && self != .wakeUp }
}
