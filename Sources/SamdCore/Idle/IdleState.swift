import FoundationEssentials
package import IdleDetector
import Logging

/// Evidence beside the probes', asked for whenever a verdict is made; each call returns at once.
package struct IdleSources: Sendable {
    /// Holds of users.
    package var holds: @Sendable (Moment) -> [Signal] = { _ in [] }
    /// What the access log tells.
    package var web: @Sendable (Moment) -> [Signal] = { _ in [] }
    /// Work of samd itself, beside the boot.
    package var operations: @Sendable (Moment) -> [Signal] = { _ in [] }
    /// How these sources fare.
    package var probes: @Sendable (Moment) -> [ProbeReport] = { _ in [] }

    package init() {}

    func signals(_ now: Moment) -> [Signal] { holds(now) + web(now) + operations(now) }
}

/// What the state of idle detection asks of the rest of the daemon; every call returns quickly.
package struct IdleEffects: Sendable {
    package var now: @Sendable () -> Moment = { Moment.now() }
    package var clock: @Sendable () -> WallClock = { WallClock.now() }
    package var sleep: @Sendable (Duration) async throws -> Void = {
        // CLOCK_MONOTONIC, as Moment is.
        try await Task.sleep(for: $0, clock: .suspending)
    }
    /// Keeps what must survive a restart of samd, in the background.
    package var save: @Sendable (IdleMemory) -> Void = { _ in }
    /// Keeps what must survive a reboot, in the background.
    package var saveActivity: @Sendable (InterruptionWatch.Record) -> Void = { _ in }
    /// Returns when all that was to be kept is on disk.
    package var flush: @Sendable () -> Void = {}
    package var notify: @Sendable (NotificationRequest) -> Void = { _ in }
    /// The few words for the status line changed.
    package var showSummary: @Sendable (String) -> Void = { _ in }

    package init() {}
}

/// What is remembered within one boot: idle.json.
package struct IdleMemory: Codable, Sendable, Equatable {
    var policy: IdlePolicy.Memory
    var told: IdleAnnouncements.Memory
}

/// Whether the machine is used: gathers all evidence, asks the policy, and tells what came out.
package actor IdleState {
    /// Evidence older than this is as good as none.
    static let snapshotPatience: Duration = .seconds(30)
    /// The first evidence may take so long: the machine is busy after a boot.
    static let firstSnapshotPatience: Duration = .seconds(120)
    /// The memory is written at most so often.
    static let savePause: Duration = .seconds(60)
    /// A change of what is no probe's leads to a new verdict at most so often.
    static let sourcePause: Duration = .seconds(1)

    let log: EventLog
    let effects: IdleEffects
    private let identity: RecordingIdentity
    private let sources: IdleSources
    nonisolated let trace: IdleTrace?
    private let bootGrace: Duration
    private let startedAt: Moment

    private(set) var policy: IdlePolicy
    private(set) var settingTexts: [String: String]
    private(set) var interruption: InterruptionWatch
    private var announcements: IdleAnnouncements
    private var recorder = IdleRecorder()
    private var newest: ActivitySnapshot?
    /// The evidence of the newest verdict.
    private(set) var evidence: ActivitySnapshot?
    private(set) var verdict: IdleVerdict?
    private(set) var blindTime: [String: Duration] = [:]
    private var evaluatedAt: Moment
    private var saved: (memory: IdleMemory, at: Moment)?
    private var shownSummary = ""
    private var timer: (due: Moment, task: Task<Void, Never>)?

    /// Goes on from what was remembered in this boot, and with what the last boot left.
    package init(
        settings: IdleSettings, bootGrace: Duration, identity: RecordingIdentity, memory: IdleMemory? = nil,
        lastActivity: InterruptionWatch.Record? = nil, log: EventLog, sources: IdleSources = IdleSources(),
        trace: IdleTrace? = nil, effects: IdleEffects = IdleEffects()
    ) {
        let now = effects.now()
        self.log = log
        self.effects = effects
        self.identity = identity
        self.sources = sources
        self.trace = trace
        self.bootGrace = bootGrace
        startedAt = now
        evaluatedAt = now
        policy = IdlePolicy(settings: settings, memory: memory?.policy, startedAt: now)
        if memory != nil { policy.resume(at: now) }
        settingTexts = IdleSettingTexts.texts(of: settings)
        announcements = IdleAnnouncements(memory: memory?.told ?? IdleAnnouncements.Memory())
        interruption = InterruptionWatch(
            after: lastActivity, bootID: identity.bootID, now: now, settings: settings)
    }

    // MARK: What flows in

    /// Runs until cancelled: tells what the last boot left, and keeps the memory at the end.
    package func run() async {
        begin()
        // Cancellation alone ends it.
        while !Task.isCancelled { try? await effects.sleep(.seconds(86_400)) }
        stop()
    }

    /// Tells of an interruption, and begins to wait for evidence.
    func begin() {
        effects.saveActivity(interruption.record)
        if case .interrupted(let work, let count, let end) = interruption.finding {
            tellInterruption(work, count: count, until: end)
        }
        evaluate()
    }

    /// Keeps what is remembered.
    func stop() {
        timer?.task.cancel()
        timer = nil
        save(always: true)
        effects.flush()
        trace?.close()
    }

    /// The probes' newest evidence.
    package func snapshotChanged(_ snapshot: ActivitySnapshot) {
        newest = snapshot
        evaluate()
    }

    /// Holds, requests or work of samd changed.
    package func sourcesChanged() {
        let pause = evaluatedAt + Self.sourcePause
        if effects.now() >= pause { evaluate() } else { schedule(min(timer?.due ?? pause, pause)) }
    }

    /// New settings of the policy were accepted.
    package func reconfigure(_ settings: IdleSettings) {
        guard settings != policy.settings else { return }
        policy = IdlePolicy(settings: settings, memory: policy.memory, startedAt: startedAt)
        settingTexts = IdleSettingTexts.texts(of: settings)
        recorder.beginAnew()
        evaluate()
    }

    // MARK: The verdict

    /// Makes a new verdict from all that is known now.
    func evaluate() {
        let now = effects.now()
        guard let base = newest ?? withoutSnapshot(now) else {
            return schedule(startedAt + Self.firstSnapshotPatience)
        }
        let evidence = whole(base, now: now)
        let before = policy.memory
        let verdict = policy.evaluate(evidence, at: now)
        countBlindTime(evidence, now: now)
        self.evidence = evidence
        self.verdict = verdict
        evaluatedAt = now
        record(evidence, memory: before, now: now)
        if interruption.observe(verdict) { effects.saveActivity(interruption.record) }
        tell(verdict, evidence)
        save(always: false)
        schedule(nextLook(verdict, base, now: now))
    }

    /// A detector that tells nothing for long is blind; before that nothing is known, and nothing decided.
    private func withoutSnapshot(_ now: Moment) -> ActivitySnapshot? {
        now - startedAt >= Self.firstSnapshotPatience ? ActivitySnapshot(at: startedAt) : nil
    }

    /// The probes' evidence and everybody else's, what is samd's own first: the end is what is cut off.
    private func whole(_ base: ActivitySnapshot, now: Moment) -> ActivitySnapshot {
        var whole = base
        whole.at = now
        whole.signals = sources.signals(now) + boot(now) + interruption.signals(now) + base.signals
        whole.signals = ActivitySnapshot.bounded(whole.signals)
        whole.probes += sources.probes(now)
        if now - base.at >= Self.snapshotPatience {
            whole.probes.append(
                ProbeReport(
                    name: "monitor", lastLook: newest == nil ? nil : base.at, failingSince: base.at,
                    reason:
                        "the detector itself tells nothing any more; see samd status and journalctl -u samd"))
        }
        return whole
    }

    private func boot(_ now: Moment) -> [Signal] {
        let end = Moment.boot + bootGrace
        guard now < end else { return [] }
        return [
            Signal(
                id: "operation:boot", kind: .operation, subject: "waits after the boot", since: .boot,
                until: end)
        ]
    }

    private func countBlindTime(_ evidence: ActivitySnapshot, now: Moment) {
        for probe in evidence.probes {
            guard let since = probe.failingSince else { continue }
            let from = max(since, evaluatedAt)
            if now > from { blindTime[probe.name, default: .zero] += now - from }
        }
    }

    private func nextLook(_ verdict: IdleVerdict, _ base: ActivitySnapshot, now: Moment) -> Moment? {
        var moments = [base.at + Self.snapshotPatience, Moment.boot + bootGrace]
        moments += [
            verdict.reviewAt, announcements.nextAt, interruption.nextAt, interruption.record.keptUntil,
            recorder.nextAt, unsavedUntil,
        ].compactMap(\.self)
        return moments.filter { $0 > now }.min()
    }

    private func schedule(_ due: Moment?) {
        guard due != timer?.due else { return }
        timer?.task.cancel()
        timer = nil
        guard let due else { return }
        let (wait, sleep) = (max(.zero, due - effects.now()), effects.sleep)
        let task = Task { [weak self] in
            // Cancelled: something else is due.
            do { try await sleep(wait) } catch { return }
            await self?.timerEnded(due)
        }
        timer = (due, task)
    }

    private func timerEnded(_ due: Moment) {
        guard timer?.due == due else { return }
        timer = nil
        evaluate()
    }

    // MARK: What flows out

    private func tell(_ verdict: IdleVerdict, _ evidence: ActivitySnapshot) {
        let clock = effects.clock()
        let explanation = IdleExplanation(verdict, evidence, now: verdict.at, clock: clock).text
        var facts = ["state": verdict.state.rawValue, "claude": verdict.claude.rawValue]
        facts["deadline"] = verdict.deadline.map { clock.timestamp($0) }
        let told = announcements.observe(
            verdict, evidence, explanation: explanation, settings: policy.settings, facts: facts)
        for announcement in told {
            if let event = announcement.event {
                log.record(event.kind, level: event.level, event.message, event.data)
            }
            if let notification = announcement.notification { effects.notify(notification) }
        }
        let words = IdleExplanation.summary(verdict)
        if words != shownSummary {
            shownSummary = words
            effects.showSummary(words)
        }
    }

    private func tellInterruption(_ work: String, count: Int, until end: Moment?) {
        let clock = effects.clock()
        let kept =
            end.map { "the machine is kept until \(clock.timeOfDay($0, now: startedAt))" }
            ?? "that happened \(count) times in a row, so it is not kept for that"
        let message = "the machine was rebooted while something worked: \(work); \(kept)"
        let data = ["work": work, "count": "\(count)", "until": end.map { clock.timestamp($0) } ?? ""]
        log.record(.idleInterrupted, level: .warning, message, data)
        effects.notify(
            NotificationRequest(
                kind: .interrupted, title: "Rebooted in the middle of work", text: message, data: data))
    }

    private func record(_ evidence: ActivitySnapshot, memory: IdlePolicy.Memory, now: Moment) {
        guard let trace, let (snapshot, isFirst) = recorder.offer(evidence, now: now) else { return }
        trace.append(snapshot, header: header(memory, at: now), isFirst: isFirst)
    }

    /// How a recording begins that goes on from a memory.
    func header(_ memory: IdlePolicy.Memory, at now: Moment) -> IdleRecording.Header {
        IdleRecording.Header(
            identity, at: now, time: effects.clock().timestamp(now), settings: settingTexts, memory: memory)
    }

    /// When what is remembered has to be written, if it changed meanwhile.
    private var unsavedUntil: Moment? {
        guard let saved, saved.memory != current else { return nil }
        return saved.at + Self.savePause
    }

    private var current: IdleMemory { IdleMemory(policy: policy.memory, told: announcements.memory) }

    private func save(always: Bool) {
        let (now, memory) = (effects.now(), current)
        if let saved {
            if saved.memory == memory { return }
            // What a kill must not take back: that somebody returned.
            let isNews = memory.policy.state != saved.memory.policy.state
            if !always, !isNews, now - saved.at < Self.savePause { return }
        }
        saved = (memory, now)
        effects.save(memory)
    }
}
