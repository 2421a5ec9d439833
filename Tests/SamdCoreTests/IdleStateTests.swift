import IdleDetector
import Testing

@testable import SamdCore

@Suite struct IdleStateTests {
    @Test func `before the first look nothing is decided, and a detector that never looks becomes blind`()
        async
    {
        let fixture = IdleFixture()
        await fixture.state.begin()
        #expect(await fixture.state.report().state == "starting")
        #expect(await fixture.state.summary().state == "starting")
        #expect(fixture.events.isEmpty)
        await fixture.advance(.seconds(120))
        let report = await fixture.state.report()
        #expect(report.state == "active" && report.holding.map(\.id) == ["probe:monitor"])
        #expect(report.probes.map(\.state) == ["blind"])
    }

    @Test func `evidence that grows old keeps the machine, and the time is counted`() async {
        let fixture = IdleFixture()
        await fixture.see()
        await fixture.advance(.seconds(29))
        #expect(await fixture.state.report().probes.map(\.state) == ["ok"])
        await fixture.advance(.seconds(91))
        #expect(await fixture.state.verdict?.holding.map(\.id) == ["probe:monitor"])
        await fixture.advance(.seconds(30))
        #expect(await fixture.state.blindTime["monitor"] == .seconds(121))
        await fixture.see()
        #expect(await fixture.state.verdict?.holding.isEmpty == true)
    }

    @Test func `each state is told once, the deadline ahead, and activity cancels it with a word`() async {
        let fixture = IdleFixture()
        await fixture.see(typing(at: morning))
        #expect(fixture.types == ["idle.active"])
        await fixture.stay(24, typing(at: morning))
        #expect(fixture.types == ["idle.active"])
        await fixture.stay(3, typing(at: morning))
        #expect(fixture.types == ["idle.active", "idle.deadline-near"])
        #expect(fixture.notifications.map(\.kind) == [.warned])
        #expect(fixture.events.last?.message.hasPrefix("idle in 5 min. Active: the last") == true)
        let input = fixture.now
        await fixture.see(typing(at: input))
        #expect(fixture.types == ["idle.active", "idle.deadline-near", "idle.active"])
        await fixture.stay(31, typing(at: input))
        #expect(fixture.types.suffix(2) == ["idle.deadline-near", "idle.idle"])
        #expect(fixture.events.last?.message.hasPrefix("Idle since 10:57") == true)
        await fixture.see(typing(at: fixture.now))
        #expect(fixture.types.last == "idle.active")
        #expect(fixture.summaries == ["active, no Claude", "idle, no Claude", "active, no Claude"])
    }

    @Test func `a deadline that moves a little within the warning is announced once`() async {
        let fixture = IdleFixture()
        let weak = { (at: Moment) in
            Evidence(id: "web:1", kind: .webBackground, subject: "3000", since: .boot, changedAt: at)
        }
        await fixture.see()
        await fixture.stay(26)
        #expect(fixture.types.last == "idle.deadline-near")
        // The weak touch of half a minute after the start moves the deadline by as much.
        await fixture.see(weak(morning + .seconds(30)))
        await fixture.stay(4, weak(morning + .seconds(30)))
        #expect(fixture.types.filter { $0 == "idle.deadline-near" }.count == 1)
    }

    @Test func `a session's changes are events, and gone is only what could be looked for`() async {
        let fixture = IdleFixture()
        await fixture.see(claude(.claudeBusy, since: morning))
        await fixture.stay(1, claude(.claudeAsking, since: fixture.now, detail: "permission prompt"))
        await fixture.stay(1, claude(.claudePrompt, since: fixture.now))
        await fixture.see(probes: [
            ProbeReport(name: "claude", lastLook: morning, failingSince: fixture.now, reason: "no right")
        ])
        let before = fixture.events.filter { $0.type == "claude.changed" }
        #expect(before.map { $0.data["state"] } == ["works", "asks", "prompt"])
        #expect(
            before[1].message
                == "Claude asks its user (pid 4242, /workspace/app): permission prompt")
        #expect(before[1].data["before"] == "works")
        await fixture.see()
        #expect(fixture.events.last { $0.type == "claude.changed" }?.data["state"] == "gone")
    }

    @Test func `a session that flaps is told at most once a second`() async {
        let fixture = IdleFixture()
        for step in 0..<100 {
            await fixture.see(claude(step % 2 == 0 ? .claudeBusy : .claudePrompt, since: fixture.now))
            await fixture.advance(.milliseconds(50))
        }
        #expect((2...6).contains(fixture.events.count { $0.type == "claude.changed" }))
    }

    @Test func `a question is a notification after a minute, once, also across a restart of samd`()
        async throws
    {
        let fixture = IdleFixture()
        let asks = claude(.claudeAsking, since: morning, detail: "permission prompt")
        await fixture.see(asks)
        await fixture.advance(.seconds(59))
        #expect(fixture.notifications.isEmpty)
        #expect(fixture.types == ["idle.waiting"])
        await fixture.advance(.seconds(1))
        #expect(fixture.notifications.map(\.kind) == [.waiting])
        #expect(fixture.notifications.first?.text.contains("permission prompt") == true)
        await fixture.stay(5, asks)
        await fixture.state.stop()
        let memory = try #require(fixture.saved.last)
        let restarted = IdleFixture(at: fixture.now, memory: memory)
        await restarted.stay(5, asks)
        #expect(restarted.notifications.isEmpty && restarted.types.isEmpty)
        let again = claude(.claudeAsking, since: restarted.now, detail: "input needed")
        await restarted.stay(2, again)
        #expect(restarted.notifications.map(\.kind) == [.waiting])
    }

    @Test func `an alarm is told once, and again after the pause as long as it stands`() async {
        let fixture = IdleFixture()
        let start = fixture.now
        let blind = {
            [ProbeReport(name: "files", lastLook: start, failingSince: start, reason: "no watches")]
        }
        for _ in 0..<(15 + 61) {
            await fixture.advance(minutes(1))
            await fixture.see(probes: blind())
        }
        #expect(fixture.types.filter { $0 == "idle.alarm" }.count == 2)
        #expect(fixture.notifications.map(\.kind) == [.alarm, .alarm])
        #expect(fixture.events.last { $0.type == "idle.alarm" }?.data["alarm"] == "blind")
        await fixture.see()
        await fixture.advance(hours(2))
        #expect(fixture.notifications.count(where: { $0.data["id"] == "probe:files" }) == 2)
    }

    @Test func `what holds beside the probes counts, and its change leads to a verdict within a second`()
        async
    {
        let fixture = IdleFixture()
        await fixture.see()
        fixture.hold([
            Evidence(
                id: "hold:1", kind: .hold, subject: "of dev", since: morning, until: morning + hours(2))
        ])
        await fixture.state.sourcesChanged()
        #expect(await fixture.state.verdict?.holding.isEmpty == true, "it waits for a second")
        await fixture.advance(.seconds(1))
        await fixture.state.sourcesChanged()
        #expect(await fixture.state.verdict?.holding.map(\.id) == ["hold:1"])
    }

    @Test func `a machine that has just booted is used`() async {
        let fixture = IdleFixture(at: .boot + minutes(1))
        await fixture.see()
        #expect(await fixture.state.verdict?.holding.map(\.id) == ["operation:boot"])
        #expect(await fixture.state.verdict?.deadline == .boot + minutes(40))
        await fixture.stay(9)
        #expect(await fixture.state.verdict?.holding.isEmpty == true)
    }

    @Test func `the memory is kept at most once a minute, and at the end`() async {
        let fixture = IdleFixture()
        for _ in 0..<300 {
            await fixture.advance(.seconds(1))
            await fixture.see(typing(at: fixture.now))
        }
        #expect((5...6).contains(fixture.saved.count))
        await fixture.state.stop()
        #expect(await fixture.saved.last?.policy == fixture.state.policy.memory)
    }

    @Test func `new settings decide anew with what is remembered`() async {
        let fixture = IdleFixture()
        await fixture.see(typing(at: morning))
        await fixture.stay(10, typing(at: morning))
        #expect(await fixture.state.verdict?.state == .active)
        var settings = IdleSettings()
        settings.threshold = minutes(10)
        await fixture.state.reconfigure(settings)
        #expect(await fixture.state.verdict?.state == .idle)
        #expect(await fixture.state.report().settings["threshold"] == "10m")
    }

    @Test func `the next look is when the policy, an announcement or the patience asks for it`() async throws
    {
        let fixture = IdleFixture()
        await fixture.see(claude(.claudeAsking, since: morning))
        // The timer is a task of its own.
        while fixture.slept.isEmpty { await Task.yield() }
        #expect(fixture.slept.last == IdleState.snapshotPatience)
    }
}

@Suite struct InterruptionTests {
    private let settings = IdleSettings()
    private let work = IdleVerdict.Reason(
        id: "claude:1:1", kind: .claudeBusy, text: "Claude works (pid 1)", since: morning)

    private func record(after observed: [IdleVerdict]) -> InterruptionWatch.Record {
        var watch = InterruptionWatch(after: nil, bootID: "a", now: .boot, settings: settings)
        for verdict in observed { _ = watch.observe(verdict) }
        return watch.record
    }

    @Test func `a reboot in the middle of work grants time, twice in a row at most`() {
        var last = record(after: [verdict(.active, holding: [work])])
        for (count, boot) in ["b", "c", "d"].enumerated() {
            var watch = InterruptionWatch(after: last, bootID: boot, now: morning, settings: settings)
            let end = count < 2 ? morning + hours(2) : nil
            #expect(
                watch.finding
                    == .interrupted(work: "Claude works (pid 1)", count: count + 1, keptUntil: end))
            #expect(watch.signals(morning).map(\.kind) == (count < 2 ? [.interrupted] : []))
            #expect(watch.signals(morning + hours(2)).isEmpty)
            _ = watch.observe(verdict(.active, at: morning + minutes(1), holding: [work]))
            last = watch.record
        }
    }

    @Test func `a human's input begins the count anew`() {
        var watch = InterruptionWatch(
            after: InterruptionWatch.Record(bootID: "a", work: "x", interruptions: 1), bootID: "b",
            now: morning, settings: settings)
        #expect(watch.record.interruptions == 2)
        _ = watch.observe(verdict(.active, lastHuman: morning - hours(1)))
        #expect(watch.record.interruptions == 2, "that was before")
        let isChanged = watch.observe(verdict(.active, lastHuman: morning))
        #expect(isChanged)
        #expect(watch.record.interruptions == 0)
    }

    @Test func `work that ended a minute ago was not interrupted, work of a moment ago was`() {
        let (works, at) = (verdict(.active, holding: [work]), morning)
        #expect(record(after: [works, verdict(.active, at: at + .seconds(59))]).work != nil)
        #expect(record(after: [works, verdict(.active, at: at + .seconds(60))]).work == nil)
    }

    @Test func `a restart of samd is no reboot, and the time that was granted goes on`() {
        let record = InterruptionWatch.Record(
            bootID: "b", work: "x", interruptions: 1, interrupted: "y", keptUntil: morning + hours(1))
        let watch = InterruptionWatch(after: record, bootID: "b", now: morning, settings: settings)
        #expect(watch.finding == .nothing && watch.record == record)
        #expect(watch.signals(morning).first?.until == morning + hours(1))
        #expect(watch.signals(morning).first?.subject == "y")
    }

    @Test func `neither holds nor wake-ups are work that a reboot interrupts`() {
        for kind in [Evidence.Kind.hold, .operation, .wakeUp, .interrupted] {
            let reason = IdleVerdict.Reason(id: "x", kind: kind, text: "x", since: morning)
            #expect(record(after: [verdict(.active, holding: [reason])]).work == nil)
        }
    }

    @Test func `an interruption is told, notified, and keeps the machine`() async {
        let last = InterruptionWatch.Record(bootID: "boot-0", work: "Claude works (pid 1)")
        let fixture = IdleFixture(at: .boot + minutes(1), lastActivity: last)
        await fixture.state.begin()
        await fixture.see()
        #expect(fixture.types == ["idle.interrupted", "idle.active"])
        #expect(fixture.events[0].message.contains("Claude works (pid 1); the machine is kept until 02:01"))
        #expect(fixture.notifications.map(\.kind) == [.interrupted])
        #expect(
            Set(await fixture.state.verdict?.holding.map(\.id) ?? []) == ["interrupted", "operation:boot"])
        #expect(fixture.activity.first?.interruptions == 1 && fixture.activity.first?.bootID == "boot-1")
    }
}
