import FoundationEssentials
package import IdleDetector
import Logging

/// What the keeper of holds asks of its surroundings.
package struct HoldEffects: Sendable {
    package var now: @Sendable () -> Present
    /// Whether a process still runs; true where that cannot be told, because holds end by their deadline in any case.
    package var isRunning: @Sendable (BoundProcess) -> Bool
    /// Writes to disk before it returns.
    package var save: @Sendable (SavedHolds) throws -> Void
    /// A fresh name; need not be unique.
    package var newID: @Sendable () -> String
    /// Told of every change, with what idle detection sees from now on; returns quickly.
    package var onChange: @Sendable ([Signal]) -> Void

    package init(
        now: @escaping @Sendable () -> Present = { .now() },
        isRunning: @escaping @Sendable (BoundProcess) -> Bool,
        save: @escaping @Sendable (SavedHolds) throws -> Void,
        newID: @escaping @Sendable () -> String = HoldEffects.randomID,
        onChange: @escaping @Sendable ([Signal]) -> Void = { _ in }
    ) {
        self.now = now
        self.isRunning = isRunning
        self.save = save
        self.newID = newID
        self.onChange = onChange
    }

    /// Six of these letters: 34 million names, and no words.
    private static let letters = Array("bcdfghjkmnpqrstvwxz")

    package static let randomID: @Sendable () -> String = {
        String((0..<6).map { _ in letters.randomElement() ?? "x" })
    }
}

/// Keeps the holds: one for the local API, idle detection and the disk.
package actor HoldKeeper {
    private var holds: Holds
    private var cap: Duration
    private let bootID: String
    private let log: EventLog
    private let effects: HoldEffects
    /// Between the clocks when the holds were last saved: a wall clock that was set since makes what is on disk wrong.
    private var savedOffset: Double

    /// How often whoever keeps time calls `expire`: so long a dead process holds the machine at most.
    package static let expiryInterval: Duration = .seconds(5)
    /// A wall clock that moved by so many seconds against the other was set.
    private static let clockJumpSeconds: Double = 2

    /// Begins with what was saved.
    ///
    /// - Parameters:
    ///   - cap: the longest a hold may last, `idle.hold_cap`.
    ///   - bootID: the running boot's.
    package init(
        saved: SavedHolds?, cap: Duration, bootID: String, log: EventLog, effects: HoldEffects
    ) {
        self.cap = cap
        self.bootID = bootID
        self.log = log
        self.effects = effects
        let now = effects.now()
        savedOffset = Self.offset(now)
        guard let saved else {
            holds = Holds()
            return
        }
        let (restored, ended) = Holds.restored(from: saved, bootID: bootID, now: now)
        holds = restored
        for end in ended { Self.tell(end, by: nil, log: log) }
        effects.onChange(holds.signals(now: now.moment))
        if saved.bootID != bootID { Self.save(holds, bootID: bootID, now: now, log: log, effects: effects) }
    }

    /// Everything that holds now, in the order in which it was taken.
    package func list() -> HoldList {
        expire()
        let now = effects.now()
        return HoldList(holds: holds.list.map { HoldReport($0, now: now) })
    }

    /// Takes a hold, and returns it once it is on disk.
    package func take(
        _ request: HoldRequest, by holder: Holder, process: BoundProcess?
    ) throws(ProblemDetails) -> HoldReport {
        expire()
        let now = effects.now()
        var changed = holds
        var id = effects.newID()
        // 64 names of 34 million are taken, so one repetition is rare and this ends.
        while changed[id] != nil { id = effects.newID() }
        let hold = try changed.take(request, by: holder, process: process, id: id, now: now, cap: cap)
        try replace(with: changed, at: now)
        log.record(
            .holdTaken, level: .notice,
            "\(holder.name) keeps this machine until \(Timestamp.text(now.wall(at: hold.deadline)))"
                + (hold.process.map { " or while process \($0.pid) runs" } ?? "") + Self.because(hold),
            Self.facts(hold).merging(["until": Timestamp.text(now.wall(at: hold.deadline))]) { old, _ in old }
        )
        return HoldReport(hold, now: now)
    }

    /// Ends a hold, and returns what it was.
    package func release(
        _ id: String, by holder: Holder, mayReleaseAny: Bool
    ) throws(ProblemDetails) -> HoldReport {
        expire()
        let now = effects.now()
        var changed = holds
        let hold = try changed.release(id, by: holder, mayReleaseAny: mayReleaseAny)
        try replace(with: changed, at: now)
        Self.tell(EndedHold(hold: hold, cause: .released), by: holder, log: log)
        return HoldReport(hold, now: now)
    }

    /// Ends what is over; to be called every `expiryInterval`.
    package func expire() {
        let now = effects.now()
        let ended = holds.expire(at: now.moment, isRunning: effects.isRunning)
        let clockWasSet = !holds.list.isEmpty && abs(Self.offset(now) - savedOffset) > Self.clockJumpSeconds
        guard !ended.isEmpty || clockWasSet else { return }
        savedOffset = Self.offset(now)
        Self.save(holds, bootID: bootID, now: now, log: log, effects: effects)
        guard !ended.isEmpty else { return }
        for end in ended { Self.tell(end, by: nil, log: log) }
        effects.onChange(holds.signals(now: now.moment))
    }

    /// What idle detection is told; what is over is ended first.
    package func signals() -> [Signal] {
        expire()
        return holds.signals(now: effects.now().moment)
    }

    /// A new configuration: holds that were taken before keep their time.
    package func setCap(_ cap: Duration) { self.cap = cap }

    /// Calls `expire` until cancelled.
    package func keepTime() async {
        while (try? await Task.sleep(for: Self.expiryInterval, clock: .suspending)) != nil { expire() }
    }

    private func replace(with changed: Holds, at now: Present) throws(ProblemDetails) {
        do {
            try effects.save(changed.saved(bootID: bootID, at: now))
        } catch {
            throw HoldProblems.notSaved(error)
        }
        savedOffset = Self.offset(now)
        holds = changed
        effects.onChange(holds.signals(now: now.moment))
    }

    /// For what cannot be refused; a file that could not be written says more than is true, and the next start finds that out.
    private static func save(
        _ holds: Holds, bootID: String, now: Present, log: EventLog, effects: HoldEffects
    ) {
        do {
            try effects.save(holds.saved(bootID: bootID, at: now))
        } catch {
            log.record(
                .stateDiscarded, level: .warning, "changed holds could not be saved: \(error)",
                ["path": "holds.json"])
        }
    }

    /// Seconds between the clocks.
    private static func offset(_ now: Present) -> Double {
        now.wall.timeIntervalSince1970 - Double(now.moment.milliseconds) / 1000
    }

    private static func tell(_ end: EndedHold, by holder: Holder?, log: EventLog) {
        let why =
            switch end.cause {
            case .released: "\(holder?.name ?? "somebody") gave it back"
            case .expired: "its time is up"
            case .processEnded: "its process ended"
            }
        var facts = facts(end.hold)
        facts["cause"] = end.cause.rawValue
        facts["released_by"] = holder?.name ?? ""
        log.record(
            .holdReleased, level: .notice, "hold \(end.hold.id) of \(end.hold.by.name) is over: \(why)", facts
        )
    }

    private static func because(_ hold: Hold) -> String { hold.reason.isEmpty ? "" : ": \(hold.reason)" }

    private static func facts(_ hold: Hold) -> [String: String] {
        var facts = [
            "hold": hold.id, "uid": "\(hold.by.uid)", "pid": "\(hold.by.pid)", "reason": hold.reason,
        ]
        facts["who"] = hold.by.name
        facts["user"] = hold.by.user
        facts["command"] = hold.by.command
        facts["container"] = hold.by.container
        return facts
    }
}
