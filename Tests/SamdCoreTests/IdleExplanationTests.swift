import FoundationEssentials
import IdleDetector
import Testing

@testable import SamdCore

@Suite struct IdleExplanationTests {
    private func text(_ verdict: IdleVerdict, _ signals: [Evidence] = [], now: Moment = morning) -> String {
        IdleExplanation(verdict, ActivitySnapshot(at: now, signals: signals), now: now, clock: utc).text
    }

    private func works(
        since: Moment = morning - minutes(12), changedAt: Moment? = morning - .seconds(4),
        until: Moment? = nil
    ) -> IdleVerdict.Reason {
        .init(
            id: "claude:4242:1", kind: .claudeBusy, text: "Claude works (pid 4242, /workspace/app)",
            since: since, changedAt: changedAt, until: until)
    }

    @Test func `a working Claude is named with its times, and nothing is counted down`() {
        let active = verdict(
            .active, claude: .works, holding: [works(until: morning + hours(12))],
            deadline: morning + hours(12) + minutes(30))
        #expect(
            text(active)
                == "Active: Claude works (pid 4242, /workspace/app, for 12 min, last progress 4 s ago). "
                + "Nothing is counted down while it does.")
    }

    @Test func `a Claude without progress is told with when it stops to count`() {
        let silent = works(
            since: morning - hours(3), changedAt: morning - hours(2), until: morning + hours(10))
        let active = verdict(
            .active, claude: .works, holding: [silent], deadline: morning + hours(10) + minutes(30))
        #expect(
            text(active)
                == "Active: Claude works (pid 4242, /workspace/app, for 3 h, last progress 2 h ago). "
                + "If it makes no progress, the machine becomes idle at 20:30 (in 10 h 30 min).")
    }

    @Test func `what else holds and what is asked meanwhile is said behind the first`() {
        let hold = IdleVerdict.Reason(
            id: "hold:1", kind: .hold, text: "hold of dev: migration", since: morning - minutes(5),
            until: morning + hours(2))
        let job = IdleVerdict.Reason(id: "job:7", kind: .job, text: "job make (pid 7)", since: morning)
        let active = verdict(.active, holding: [hold, job], deadline: morning + hours(2) + minutes(30))
        let asks = claude(.claudeAsking, since: morning - minutes(3), detail: "permission prompt")
        #expect(
            text(active, [asks])
                == "Active: hold of dev: migration (for 5 min, until 12:00). Besides, job make (pid 7). "
                + "Claude asks its user (pid 4242, /workspace/app, for 3 min): permission prompt meanwhile. "
                + "If nothing else happens, the machine becomes idle at 12:30 (in 2 h 30 min).")
        #expect(
            text(verdict(.active, holding: [hold, job, job])).contains(
                "Besides, job make (pid 7), and 1 more."))
    }

    @Test func `a probe that cannot look keeps the machine, and says so`() {
        let blind = IdleVerdict.Reason(
            id: "probe:files", kind: nil, text: "the probe files cannot look: no inotify watches are left",
            since: morning - minutes(7), changedAt: morning - minutes(8))
        #expect(
            text(verdict(.active, holding: [blind]))
                == "Active: the probe files cannot look: no inotify watches are left (for 7 min). "
                + "The machine does not become idle until samd can look again.")
    }

    @Test func `with nothing that holds the last activity and the deadline are told`() {
        let last = IdleVerdict.Reason(
            id: "tty:1", kind: .terminal, text: "input on pts/1 of dev", since: morning - minutes(4))
        #expect(
            text(verdict(.active, last: last, deadline: morning + minutes(26)))
                == "Active: the last activity was 4 min ago: input on pts/1 of dev. "
                + "If nothing happens, the machine becomes idle at 10:26 (in 26 min).")
    }

    @Test func `a question is told with who asks what and what happens if nobody answers`() {
        let asks = claude(.claudeAsking, since: morning - minutes(3), detail: "permission prompt")
        let later = claude(.claudeAsking, pid: 5, since: morning)
        let last = IdleVerdict.Reason(
            id: asks.id, kind: .claudeAsking, text: "Claude was there (pid 4242, /workspace/app)",
            since: morning - minutes(3))
        let waiting = verdict(.waiting, claude: .waits, last: last, deadline: morning + hours(3))
        #expect(
            text(waiting, [later, asks])
                == "Waiting: Claude asks its user (pid 4242, /workspace/app, for 3 min): permission prompt, "
                + "and so does another; the machine becomes idle at 13:00 (in 3 h) if nobody answers.")
        #expect(
            text(verdict(.waiting, deadline: morning + hours(3)), [asks]).hasSuffix(
                "if nobody answers. The last activity was just now: input on pts/1."))
    }

    @Test func `an idle machine is told with since when, what was last, and the disk's worth`() {
        let last = IdleVerdict.Reason(
            id: "tty:1", kind: .terminal, text: "input on pts/1 of dev", since: morning - hours(11))
        let idle = verdict(
            .idle, since: morning - hours(10) - minutes(30), last: last, deadline: morning, endAction: .image)
        #expect(
            text(idle)
                == "Idle since 1969-12-31 23:30 (for 10 h 30 min): the last activity was at 1969-12-31 23:00: "
                + "input on pts/1 of dev. A Claude made no progress in the middle of a turn, so the disk is "
                + "worth an image.")
    }

    @Test func `the table tells of each signal whether it counts and why`() throws {
        var idle = verdict(.active, claude: .works, holding: [works(until: morning + hours(12))])
        idle.ignored = [
            .init(id: "ssh:1", kind: .ssh, text: "x", why: "an open connection is no activity")
        ]
        idle.alarms = [
            .init(kind: .blind, id: "probe:files", text: "it cannot look", since: morning - minutes(20))
        ]
        let ssh = Evidence(
            id: "ssh:1", kind: .ssh, subject: "dev from 192.0.2.7", since: morning - hours(26))
        let snapshot = ActivitySnapshot(
            at: morning,
            signals: [
                ssh, typing(at: morning - minutes(4)),
                claude(.claudeBusy, since: morning - minutes(12), changedAt: morning - .seconds(4)),
            ],
            probes: [
                ProbeReport(name: "claude", lastLook: morning),
                ProbeReport(
                    name: "files", lastLook: nil, failingSince: morning - minutes(20), reason: "no watches"),
            ])
        let report = IdleReport(idle, snapshot, settings: [:], now: morning, clock: utc)
        #expect(
            IdleTable.rows(report) == [
                [
                    "claude.busy", "pid 4242, /workspace/app", "12 min", "4 s",
                    "holds the machine until 22:00",
                ],
                ["terminal", "pts/1 of dev", "10 h", "4 min", "yes: it was the last activity"],
                ["ssh", "dev from 192.0.2.7", "1 d 2 h", "-", "no: an open connection is no activity"],
            ])
        #expect(
            IdleTable.notes(report) == [
                "ALARM blind, for 20 min: it cannot look",
                "BLIND for 20 min: the probe files cannot look: no watches",
            ])
        #expect(report.probes.map(\.state) == ["ok", "blind"])
        #expect(report.signals.map(\.counts) == ["holds", "touched", "ignored"])
    }

    @Test func `times of another day come with their date, and RFC 3339 is read back`() throws {
        #expect(utc.timeOfDay(morning, now: morning + hours(13)) == "10:00")
        #expect(utc.timeOfDay(morning, now: morning + hours(14)) == "1970-01-01 10:00")
        let date = try #require(Timestamp.date(utc.timestamp(morning + .milliseconds(250))))
        #expect(date.timeIntervalSince1970 == utc.seconds(morning + .milliseconds(250)))
    }
}
