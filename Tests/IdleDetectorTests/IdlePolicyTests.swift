import IdleDetector
import Testing

@Suite("Idle policy")
struct IdlePolicyTests {
    var run = PolicyRun()
    static let step: Duration = .seconds(15)

    private func isAbout(_ actual: Duration?, _ expected: Duration) -> Bool {
        guard let actual else { return false }
        return actual >= expected && actual <= expected + .seconds(60)
    }

    // MARK: Countdown

    @Test("without anything, the machine is active for the threshold after it began to be watched, then idle")
    mutating func threshold() {
        #expect(run.verdict().state == .active)
        #expect(run.verdict().deadline == run.now + .minutes(30))
        #expect(run.idleAfter(limit: .hours(1)) == .minutes(30))
        let verdict = run.verdict()
        #expect(verdict.lastActivity.text == "samd began to watch")
        #expect(verdict.endAction == .delete)
        #expect(verdict.since == verdict.deadline)
    }

    @Test("evaluating at the times a verdict asks for is enough to become idle at its deadline")
    mutating func reviews() {
        run.touch(.terminal)
        run.set(.claudeShell)
        var verdict = run.verdict()
        let deadline = verdict.deadline
        var rounds = 0
        while verdict.state != .idle, let review = verdict.reviewAt, rounds < 100 {
            _ = run.pass(review - run.now, step: review - run.now)
            verdict = run.verdict()
            rounds += 1
        }
        #expect(verdict.state == .idle)
        #expect(run.now == deadline)
    }

    @Test("a verdict asks to be reviewed before the deadline, when the warning is due")
    mutating func warning() {
        #expect(run.verdict().reviewAt == run.now + .minutes(25))
    }

    @Test("time never runs backwards, and evidence from the future counts as of now")
    mutating func clock() {
        run.pass(.minutes(10))
        run.set(.terminal, changedAt: run.now + .hours(5))
        #expect(run.verdict().lastActivity.since == run.now)
        let earlier = run.policy.evaluate(run.snapshot, at: run.now - .minutes(9))
        #expect(earlier.at == run.now)
        #expect(run.verdict().deadline == run.now + .minutes(30))
    }

    // MARK: Claude

    @Test("a busy Claude holds, and 12 h without progress later there is an alarm and the disk must be kept")
    mutating func busyCap() {
        run.set(.claudeBusy)
        #expect(run.verdict().state == .active)
        #expect(run.verdict().claude == .works)
        #expect(run.verdict().holding.first?.until == run.now + .hours(12))
        let verdict = run.pass(.hours(12) + .minutes(1))
        #expect(verdict.alarms.map(\.kind) == [.silentBusy])
        #expect(verdict.endAction == .image)
        #expect(verdict.state == .active)
        #expect(isAbout(run.idleAfter(limit: .hours(2)), .minutes(29)))
    }

    @Test(
        "the growth of a transcript, or a tool's progress, is progress of a busy Claude",
        arguments: [true, false])
    mutating func busyProgress(byTool: Bool) {
        run.set(.claudeBusy)
        run.pass(.hours(11))
        if byTool {
            run.set(.tool, changedAt: run.now, belongsTo: "claude.busy")
        } else {
            run.set(.claudeBusy, changedAt: run.now)
        }
        #expect(run.verdict().holding.first { $0.kind == .claudeBusy }?.until == run.now + .hours(12))
    }

    @Test("the end of a tool takes nothing back of its session's progress")
    mutating func toolEnds() {
        run.set(.claudeBusy)
        run.pass(.hours(11))
        run.set(.tool, belongsTo: "claude.busy")
        let progress = run.now
        run.pass(.minutes(30))
        run.remove("claude.tool")
        #expect(run.verdict().holding.first?.until == progress + .hours(12))
    }

    @Test(
        "background tasks, tools and orphans hold for 2 h without progress, then are ignored without an alarm",
        arguments: [Signal.Kind.claudeShell, .tool, .orphan])
    mutating func silentCap(kind: Signal.Kind) {
        run.set(kind)
        let verdict = run.pass(.hours(2) - .seconds(15))
        #expect(verdict.holding.map(\.kind) == [kind])
        #expect(isAbout(run.idleAfter(limit: .hours(2)), .minutes(30)))
        #expect(run.verdict().alarms.isEmpty)
        #expect(run.verdict().endAction == .delete)
        #expect(run.verdict().ignored.first?.why == "no progress for 2 h")
    }

    @Test("progress renews the cap of a tool for as long as it goes on")
    mutating func toolProgress() {
        run.set(.orphan)
        let verdict = run.pass(.hours(20)) { $0.set(.orphan, changedAt: $0.now) }
        #expect(verdict.state == .active)
        #expect(verdict.holding.first?.until == run.now + .hours(2))
    }

    @Test("a Claude at its prompt never holds; what it did before counts until the threshold")
    mutating func prompt() {
        run.set(.claudeBusy)
        run.pass(.hours(3))
        run.set(.claudePrompt, id: "claude.busy")
        let verdict = run.verdict()
        #expect(verdict.state == .active)
        #expect(verdict.claude == .waits)
        #expect(verdict.ignored.map(\.why) == ["it is at its prompt"])
        #expect(run.idleAfter(limit: .hours(2)) == .minutes(30))
    }

    @Test("a Claude that asks is waited for, longer than the threshold, and not for ever")
    mutating func asking() {
        run.set(.claudeBusy)
        run.pass(.minutes(10))
        run.set(.claudeAsking, id: "claude.busy", detail: "permission prompt")
        let verdict = run.verdict()
        #expect(verdict.state == .waiting)
        #expect(verdict.deadline == run.now + .hours(3))
        #expect(run.idleAfter(limit: .hours(5)) == .hours(3))
    }

    @Test("the waiting threshold is never shorter than the other")
    mutating func waitingThreshold() {
        run = PolicyRun { $0.waitingThreshold = .seconds(60) }
        run.set(.claudeAsking)
        #expect(run.verdict().deadline == run.now + .minutes(30))
    }

    @Test("a Claude that works makes the machine active although another one asks")
    mutating func worksAndAsks() {
        run.set(.claudeAsking)
        run.set(.claudeBusy)
        #expect(run.verdict().state == .active)
    }

    @Test("a Claude that cannot be told to rest holds without end, and after 6 h that is an alarm")
    mutating func unknown() {
        run.set(.claudeUnknown)
        #expect(run.verdict().deadline == nil)
        #expect(run.verdict().claude == .works)
        var verdict = run.pass(.hours(6) - .seconds(15))
        #expect(verdict.alarms.isEmpty)
        verdict = run.pass(.seconds(30))
        #expect(verdict.alarms.map(\.kind) == [.unknownClaude])
        verdict = run.pass(.hours(17))
        #expect(verdict.state == .active)
    }

    @Test("killed with its tool: the Claude is gone, the orphan holds on")
    mutating func killed() {
        run.set(.claudeBusy)
        run.pass(.hours(1))
        run.signals = []
        run.set(.orphan)
        let verdict = run.verdict()
        #expect(verdict.claude == .gone)
        #expect(verdict.state == .active)
    }

    @Test("the end of a Claude is an activity")
    mutating func ended() {
        run.set(.claudePrompt)
        run.pass(.minutes(29))
        run.signals = []
        #expect(run.idleAfter(limit: .hours(1)) == .minutes(30))
        #expect(run.verdict().lastActivity.text == "a Claude session ended")
    }

    @Test("a wake-up within a day holds until it is due and a little longer")
    mutating func wakeUp() {
        let due = run.now + .hours(1)
        run.set(.wakeUp, until: due)
        #expect(run.verdict().holding.first?.until == due + .minutes(5))
        #expect(isAbout(run.idleAfter(limit: .hours(3)), .minutes(60 + 5 + 30)))
    }

    @Test("a wake-up further away than a day does not hold yet")
    mutating func farWakeUp() {
        run.set(.wakeUp, until: run.now + .hours(25))
        let verdict = run.verdict()
        #expect(verdict.holding.isEmpty)
        #expect(run.idleAfter(limit: .hours(2)) == .minutes(30))
    }

    @Test("a wake-up that comes near enough before the deadline moves the deadline")
    mutating func laterWakeUp() {
        let due = run.now + .hours(24) + .minutes(10)
        run.set(.wakeUp, until: due)
        #expect(run.verdict().holding.isEmpty)
        #expect(run.verdict().reviewAt == run.now + .minutes(10))
        #expect(run.verdict().deadline == due + .minutes(35))
        let verdict = run.pass(.minutes(11))
        #expect(verdict.holding.map(\.kind) == [.wakeUp])
        #expect(verdict.deadline == due + .minutes(35))
    }

    @Test("wake-ups that follow each other for ever hold 72 h past the last human, and end with an alarm")
    mutating func wakeUpCap() {
        let verdict = run.pass(.hours(72) + .seconds(15), step: .minutes(5)) {
            $0.set(.wakeUp, until: $0.now + .minutes(10))
        }
        #expect(verdict.holding.isEmpty)
        #expect(verdict.alarms.map(\.kind).contains(.capped))
    }

    // MARK: Other work

    @Test(
        "jobs and other agents hold for a moment after progress, which is the activity",
        arguments: [Signal.Kind.job, .agent])
    mutating func progress(kind: Signal.Kind) {
        run.set(kind)
        #expect(run.verdict().ignored.first?.why == "it makes no progress")
        run.pass(.minutes(20))
        run.touch(kind)
        #expect(run.verdict().holding.first?.until == run.now + .minutes(5))
        #expect(run.verdict().deadline == run.now + .minutes(30))
        #expect(run.idleAfter(limit: .hours(1)) == .minutes(30))
    }

    @Test("a silent test run of 3 h that uses CPU keeps the machine")
    mutating func silentRun() {
        let verdict = run.pass(.hours(3)) { $0.touch(.job) }
        #expect(verdict.state == .active)
    }

    @Test("work that goes on a day after the last human is an alarm, and still holds")
    mutating func unattended() {
        var verdict = run.pass(.hours(24) - .seconds(15)) { $0.touch(.job) }
        #expect(verdict.alarms.isEmpty)
        verdict = run.pass(.seconds(30)) { $0.touch(.job) }
        #expect(verdict.alarms.map(\.kind) == [.unattended])
        #expect(verdict.state == .active)
        let since = verdict.alarms.first?.since
        verdict = run.pass(.hours(1)) { $0.touch(.job) }
        #expect(verdict.alarms.first?.since == since)
    }

    @Test("what only touches again and again is told of after a day, too")
    mutating func unattendedTouches() {
        var starts = 0
        let verdict = run.pass(.hours(25), step: .minutes(10)) { run in
            starts += 1
            run.signals = [Signal(id: "claude:\(starts)", kind: .claudePrompt, subject: "x", since: run.now)]
        }
        #expect(verdict.state == .active)
        #expect(verdict.holding.isEmpty)
        #expect(verdict.alarms.map(\.kind) == [.unattended])
    }

    @Test("samd's own work holds, without progress for 2 h at most")
    mutating func operation() {
        run.set(.operation)
        #expect(run.pass(.hours(1)).state == .active)
        #expect(isAbout(run.idleAfter(limit: .hours(3)), .minutes(60 + 30)))
        #expect(run.verdict().alarms.map(\.kind) == [.capped])
    }

    @Test("after an interruption the machine is kept for the granted time")
    mutating func interrupted() {
        run.set(.interrupted, until: run.now + .hours(2))
        #expect(isAbout(run.idleAfter(limit: .hours(4)), .minutes(150)))
    }

    // MARK: Humans

    @Test(
        "input and requests of a person count, and the person is remembered",
        arguments: [Signal.Kind.terminal, .webPerson])
    mutating func human(kind: Signal.Kind) {
        run.pass(.minutes(29))
        run.touch(kind)
        let verdict = run.verdict()
        #expect(verdict.lastHuman == run.now)
        #expect(verdict.deadline == run.now + .minutes(30))
        #expect(run.idleAfter(limit: .hours(1)) == .minutes(30))
    }

    @Test(
        "panes, open connections and waiting sessions never count",
        arguments: [Signal.Kind.terminalPane, .ssh, .claudePrompt])
    mutating func never(kind: Signal.Kind) {
        run.verdict()
        run.set(kind)
        run.verdict()
        #expect(isAbout(run.idleAfter(limit: .hours(1)), .minutes(30)))
        run.touch(kind)
        #expect(run.verdict().state == .idle)
        #expect(run.verdict().ignored.count == 1)
    }

    @Test(
        "input that never pauses is a program's after an hour, and then weak",
        arguments: [Signal.Kind.terminal, .webPerson, .files])
    mutating func steady(kind: Signal.Kind) {
        let start = run.now
        var verdict = run.pass(.minutes(59)) { $0.touch(kind) }
        #expect(verdict.ignored.isEmpty)
        verdict = run.pass(.hours(3) + .minutes(32)) { $0.touch(kind) }
        #expect(verdict.state == .idle)
        #expect(verdict.ignored.first?.why.contains("without a pause for 1 h") == true)
        #expect(verdict.since - start <= .hours(3) + .minutes(31))
    }

    @Test("a pause of five minutes makes it a human again")
    mutating func pause() {
        run.pass(.hours(2)) { $0.touch(.terminal) }
        run.pass(.minutes(6))
        run.touch(.terminal)
        #expect(run.verdict().lastHuman == run.now)
        #expect(run.verdict().ignored.isEmpty)
    }

    @Test(
        "weak touches extend 2 h past the last real activity and no further",
        arguments: [Signal.Kind.webBackground, .transfer])
    mutating func weak(kind: Signal.Kind) {
        run.touch(.terminal)
        run.verdict()
        let start = run.now
        var verdict = run.verdict()
        while verdict.state != .idle, run.now - start < .hours(9) {
            verdict = run.pass(.seconds(15)) { $0.touch(kind) }
        }
        #expect(isAbout(run.now - start, .minutes(120 + 30)))
    }

    @Test("files alone keep the machine for 12 h, then there is an alarm")
    mutating func files() {
        let start = run.now
        var verdict = run.verdict()
        while verdict.state != .idle, run.now - start < .hours(20) {
            verdict = run.pass(.minutes(10), step: .minutes(1)) { run in
                if (run.now - start).components.seconds % 600 == 0 { run.touch(.files) }
            }
        }
        #expect(run.now - start >= .hours(12))
        #expect(run.now - start <= .hours(12) + .minutes(41))
        run.touch(.files)
        #expect(run.verdict().alarms.map(\.kind) == [.filesAlone])
    }

    // MARK: Holds

    @Test("a hold keeps the machine until its end, and the threshold after it")
    mutating func hold() {
        run.set(.hold, until: run.now + .hours(5))
        #expect(run.verdict().holding.map(\.kind) == [.hold])
        #expect(isAbout(run.idleAfter(limit: .hours(9)), .hours(5) + .minutes(30)))
    }

    @Test("holds end a day after the last human input, with an alarm")
    mutating func holdCap() {
        run.set(.hold, until: run.now + .hours(100))
        let verdict = run.pass(.hours(24) + .seconds(15), step: .minutes(5))
        #expect(verdict.holding.isEmpty)
        #expect(verdict.alarms.map(\.kind) == [.capped, .unattended])
        run.touch(.terminal)
        #expect(run.verdict().holding.map(\.kind) == [.hold])
    }

    // MARK: Blind probes

    @Test("a machine does not become idle while a probe cannot look, and after 15 min that is an alarm")
    mutating func blind() {
        run.probes = [
            ProbeReport(name: "terminals", lastLook: run.now, failingSince: run.now, reason: "no right")
        ]
        var verdict = run.pass(.minutes(3))
        #expect(verdict.holding.map(\.id) == ["probe:terminals"])
        #expect(verdict.deadline == nil)
        verdict = run.pass(.minutes(13))
        #expect(verdict.alarms.map(\.kind) == [.blind])
        verdict = run.pass(.hours(10))
        #expect(verdict.state == .active)
    }

    @Test("blindness moves nothing: when it ends, the countdown is where it was")
    mutating func blindEnd() {
        run.probes = [ProbeReport(name: "jobs", lastLook: run.now, failingSince: run.now, reason: "x")]
        run.pass(.hours(5))
        run.probes = [ProbeReport(name: "jobs", lastLook: run.now)]
        #expect(run.verdict().state == .idle)
    }

    @Test("a probe that fails just when the machine would become idle prevents it at once")
    mutating func blindAtTheEnd() {
        run.pass(.minutes(30) - .seconds(15))
        run.probes = [ProbeReport(name: "jobs", lastLook: run.now, failingSince: run.now, reason: "x")]
        #expect(run.pass(.seconds(30)).state == .active)
    }

    @Test("a probe that never looked prevents idleness")
    mutating func neverLooked() {
        run.probes = [ProbeReport(name: "claude")]
        #expect(run.pass(.hours(1)).state == .active)
    }

    // MARK: Memory

    @Test(
        "a restart of a moment is a weak touch: somebody may have been there, and many restarts add nothing")
    mutating func memory() throws {
        run.set(.claudePrompt)
        run.touch(.terminal)
        run.verdict()
        run.pass(.minutes(20))
        let memory = run.policy.memory
        run.restart(memory)
        #expect(run.verdict().lastActivity.text == "samd began to watch again")
        #expect(run.verdict().deadline == run.now + .minutes(30))
        let start = run.now
        while run.verdict().state != .idle, run.now - start < .hours(9) {
            run.pass(.minutes(1))
            run.restart(run.policy.memory)
        }
        #expect(run.now - start <= .minutes(120 - 20 + 31))
    }

    @Test("who was away for long may have missed somebody: that is an activity")
    mutating func longAbsence() {
        run.touch(.terminal)
        run.verdict()
        let memory = run.policy.memory
        run.pass(.hours(5))
        run.restart(memory)
        #expect(run.idleAfter(limit: .hours(1)) == .minutes(30))
    }

    @Test("connections and terminals beyond the bound push no work out")
    mutating func boundedByRank() {
        run.signals = (0..<2000).map { Signal(id: "a\($0)", kind: .ssh, subject: "x", since: run.now) }
        run.signals.append(Signal(id: "z", kind: .tool, subject: "x", since: run.now))
        #expect(run.verdict().holding.map(\.id) == ["z"])
    }

    @Test("a hostile number of signals is cut off")
    mutating func bounded() {
        run.signals = (0..<5000).map { Signal(id: "job:\($0)", kind: .job, subject: "x", since: run.now) }
        #expect(run.verdict().ignored.count == ActivitySnapshot.signalLimit)
    }
}
