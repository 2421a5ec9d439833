import IdleDetector
import Synchronization

@testable import SamdCore

typealias Evidence = IdleDetector.Signal

/// Ten o'clock in the machine's first morning: it booted at midnight, 1970-01-01 UTC.
let morning = Moment.boot + .seconds(10 * 3600)
let utc = WallClock(bootMilliseconds: 0, isUTC: true)

func minutes(_ count: Int) -> Duration { .seconds(count * 60) }
func hours(_ count: Int) -> Duration { .seconds(count * 3600) }

func claude(
    _ kind: Evidence.Kind, pid: Int32 = 4242, since: Moment, changedAt: Moment? = nil, detail: String? = nil
) -> Evidence {
    Evidence(
        id: "claude:\(pid):1", kind: kind, subject: "pid \(pid), /workspace/app", detail: detail, pid: pid,
        since: since, changedAt: changedAt)
}

func typing(at moment: Moment) -> Evidence {
    Evidence(id: "tty:1", kind: .terminal, subject: "pts/1 of dev", since: .boot, changedAt: moment)
}

/// A verdict whose parts a test sets.
func verdict(
    _ state: IdleVerdict.State, at now: Moment = morning, since: Moment = morning,
    claude: IdleVerdict.ClaudeState = .gone, holding: [IdleVerdict.Reason] = [],
    last: IdleVerdict.Reason = .init(id: "tty:1", kind: .terminal, text: "input on pts/1", since: morning),
    lastHuman: Moment? = nil, deadline: Moment? = nil, endAction: IdleVerdict.EndAction = .delete,
    alarms: [IdleVerdict.Alarm] = []
) -> IdleVerdict {
    IdleVerdict(
        at: now, state: state, since: since, claude: claude, holding: holding, lastActivity: last,
        lastHuman: lastHuman, ignored: [], deadline: deadline, endAction: endAction, alarms: alarms,
        reviewAt: nil)
}

/// An `IdleState` whose clock and disk the test holds.
final class IdleFixture: Sendable {
    private struct Recorded {
        var now = morning
        var slept: [Duration] = []
        var saved: [IdleMemory] = []
        var activity: [InterruptionWatch.Record] = []
        var notifications: [NotificationRequest] = []
        var summaries: [String] = []
        var holds: [Evidence] = []
    }

    let log = quietLog()
    let state: IdleState
    private let recorded: Recording

    private final class Recording: Sendable {
        let values = Mutex(Recorded())
    }

    var events: [DaemonEvent] { log.events(after: 0) }
    /// What was recorded as events, but for the sessions' own.
    var types: [String] { events.map(\.type).filter { $0 != "claude.changed" } }
    var notifications: [NotificationRequest] { recorded.values.withLock { $0.notifications } }
    var saved: [IdleMemory] { recorded.values.withLock { $0.saved } }
    var activity: [InterruptionWatch.Record] { recorded.values.withLock { $0.activity } }
    var summaries: [String] { recorded.values.withLock { $0.summaries } }
    var slept: [Duration] { recorded.values.withLock { $0.slept } }
    var now: Moment { recorded.values.withLock { $0.now } }

    init(
        _ settings: IdleSettings = IdleSettings(), at start: Moment = morning, bootID: String = "boot-1",
        memory: IdleMemory? = nil, lastActivity: InterruptionWatch.Record? = nil, trace: IdleTrace? = nil
    ) {
        let recorded = Recording()
        recorded.values.withLock { $0.now = start }
        var effects = IdleEffects()
        effects.now = { recorded.values.withLock { $0.now } }
        effects.clock = { utc }
        effects.sleep = { duration in
            recorded.values.withLock { $0.slept.append(duration) }
            // Until it is cancelled: the test itself says when time has passed.
            try await Task.sleep(for: .seconds(86_400), clock: .suspending)
        }
        effects.save = { memory in recorded.values.withLock { $0.saved.append(memory) } }
        effects.saveActivity = { record in recorded.values.withLock { $0.activity.append(record) } }
        effects.notify = { request in recorded.values.withLock { $0.notifications.append(request) } }
        effects.showSummary = { words in recorded.values.withLock { $0.summaries.append(words) } }
        var sources = IdleSources()
        sources.holds = { _ in recorded.values.withLock { $0.holds } }
        self.recorded = recorded
        state = IdleState(
            settings: settings, bootGrace: minutes(10),
            identity: RecordingIdentity(vm: "vm1", bootID: bootID), memory: memory,
            lastActivity: lastActivity, log: log, sources: sources, trace: trace, effects: effects)
    }

    func hold(_ signals: [Evidence]) { recorded.values.withLock { $0.holds = signals } }

    /// Lets time pass, and what is due happen.
    func advance(_ duration: Duration) async {
        recorded.values.withLock { $0.now = $0.now + duration }
        await state.evaluate()
    }

    /// The probes' evidence of now.
    func see(_ signals: Evidence..., probes: [ProbeReport]? = nil) async {
        let now = now
        await state.snapshotChanged(
            ActivitySnapshot(
                at: now, signals: signals,
                probes: probes ?? [ProbeReport(name: "claude", lastLook: now)]))
    }

    /// The same in so many steps of a minute, each with a fresh look at the same evidence.
    func stay(_ count: Int, _ signals: Evidence...) async {
        for _ in 0..<count {
            recorded.values.withLock { $0.now = $0.now + .seconds(60) }
            let now = now
            await state.snapshotChanged(
                ActivitySnapshot(
                    at: now, signals: signals, probes: [ProbeReport(name: "claude", lastLook: now)]))
        }
    }
}
