import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("What Claude sessions have planned")
struct ClaudeWakeUpTests {
    /// Central Europe in 2026: the clock is put forward on March 29 and back on October 25, both at 01:00 UTC.
    private static let berlin = LocalZone { (1_774_746_000..<1_792_890_000).contains($0) ? 7200 : 3600 }

    private func seconds(_ text: String) throws -> Int64 {
        try #require(WallTime.milliseconds("\(text):00Z")) / 1000
    }

    @Test("times are read and dates counted as the calendar does")
    func calendar() throws {
        #expect(WallTime.milliseconds("2026-11-23T12:32:06.164Z") == 1_795_437_126_164)
        #expect(WallTime.milliseconds("1970-01-01T00:00:00Z") == 0)
        #expect(WallTime.milliseconds("2024-02-29T23:59:59.9Z") == 1_709_251_199_900)
        for text in [
            "", "2026-11-23", "2026-13-01T00:00:00Z", "2026-11-23T12:32:06.1649Z", "2026-11-2xT12:32:06Z",
        ] {
            #expect(WallTime.milliseconds(text) == nil)
        }
        for days in stride(from: Int64(-800_000), to: 800_000, by: 997) {
            let date = CivilDate(daysSinceEpoch: days)
            #expect(CivilDate.days(year: date.year, month: date.month, day: date.day) == days)
        }
    }

    @Test(
        "the next time of an expression",
        arguments: [
            ("* * * * *", "2026-11-23T12:32", "2026-11-23T12:33"),
            ("*/5 * * * *", "2026-11-23T12:32", "2026-11-23T12:35"),
            ("7 * * * *", "2026-11-23T12:32", "2026-11-23T13:07"),
            ("0 9 * * 1-5", "2026-11-27T09:00", "2026-11-30T09:00"),
            ("57 8 * * *", "2026-12-31T09:00", "2027-01-01T08:57"),
            ("30 14 24 12 *", "2026-11-23T12:32", "2026-12-24T14:30"),
            ("0 0 29 2 *", "2027-03-01T00:00", "2028-02-29T00:00"),
            ("0 0 13 * 5", "2026-11-23T00:00", "2026-11-27T00:00"),
            ("0 0 * * 7", "2026-11-23T00:00", "2026-11-29T00:00"),
            ("0 0 * * 5-7", "2026-11-28T12:00", "2026-11-29T00:00"),
            ("10-20/5,40 3,4 * * *", "2026-11-23T03:20", "2026-11-23T03:40"),
            ("0 0 31 * *", "2026-11-23T00:00", "2026-12-31T00:00"),
        ])
    func next(_ text: String, _ after: String, _ expected: String) throws {
        let expression = try #require(CronExpression(text))
        #expect(expression.next(after: try seconds(after), in: .utc) == (try seconds(expected)))
    }

    @Test(
        "what Claude Code refuses is refused",
        arguments: [
            "", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
            "a * * * *",
            "*/0 * * * *", "5-1 * * * *", "1/2 * * * *", "* * * JAN *", "1,,2 * * * *", "-1 * * * *",
            "1- * * * *",
            "99999999999999999999 * * * *", "* * * * * \(String(repeating: "*", count: 300))",
        ])
    func refused(_ text: String) { #expect(CronExpression(text) == nil) }

    @Test("an expression that never comes is nil after a bounded search")
    func never() throws {
        let expression = try #require(CronExpression("0 0 31 2 *"))
        #expect(expression.next(after: 0, in: .utc) == nil)
        #expect(expression.next(after: -1, in: Self.berlin) == nil)
    }

    @Test("a time that the clock leaps over is missed, one that it shows twice counts the first time")
    func daylightSaving() throws {
        let night = try #require(CronExpression("30 2 * * *"))
        // 02:30 of March 29 does not exist.
        #expect(
            night.next(after: try seconds("2026-03-28T02:00"), in: Self.berlin)
                == (try seconds("2026-03-30T00:30")))
        // On October 25 it comes at 00:30 and at 01:30 UTC.
        #expect(
            night.next(after: try seconds("2026-10-24T12:00"), in: Self.berlin)
                == (try seconds("2026-10-25T00:30")))
        #expect(
            night.next(after: try seconds("2026-10-25T00:30"), in: Self.berlin)
                == (try seconds("2026-10-26T01:30")))
        // Asked while the hour is shown again.
        #expect(
            night.next(after: try seconds("2026-10-25T01:10"), in: Self.berlin)
                == (try seconds("2026-10-26T01:30")))
        let hourly = try #require(CronExpression("0 * * * *"))
        #expect(
            hourly.next(after: try seconds("2026-03-29T00:00"), in: Self.berlin)
                == (try seconds("2026-03-29T01:00")))
        #expect(
            hourly.next(after: try seconds("2026-10-25T00:00"), in: Self.berlin)
                == (try seconds("2026-10-25T02:00")))
    }

    @Test("every minute of a year is found as by trying all of them, over both changes of the clock")
    func bruteForce() throws {
        for text in ["30 2 * * *", "0 3 29 3 *", "*/17 1-3 * * 0", "0 0 1 * *", "59 23 31 12 *"] {
            let expression = try #require(CronExpression(text))
            for start in [try seconds("2026-03-28T20:00"), try seconds("2026-10-24T20:00")] {
                var tried: Int64?
                for time in stride(from: start + 60, to: start + 36 * 3600, by: 60) where tried == nil {
                    // A minute is one of the expression's if it is what comes after the one before.
                    if expression.next(after: time - 60, in: Self.berlin) == time { tried = time }
                }
                if let tried { #expect(expression.next(after: start, in: Self.berlin) == tried) }
            }
        }
    }

    // MARK: - Recorded

    private func wakeUps(lines count: Int? = nil) throws -> ScheduledWakeUps {
        let text = try ClaudeFixtures.bytes("transcript-wakeups.jsonl")
        var wakeUps = ScheduledWakeUps()
        var start = 0
        var seen = 0
        while let end = text[start...].firstIndex(of: UInt8(ascii: "\n")), seen < count ?? .max {
            wakeUps.take(text, in: start..<end)
            start = end + 1
            seen += 1
        }
        return wakeUps
    }

    /// How many lines there are up to the first that contains a text.
    private func lines(to text: String) throws -> Int {
        let lines = try ClaudeFixtures.text("transcript-wakeups.jsonl").split(separator: "\n")
        return try #require(lines.firstIndex { $0.contains(text) }) + 1
    }

    @Test(
        "a recorded job comes when the program said, then as its expression says with the program's own delay"
    )
    func recordedJob() throws {
        let created = try wakeUps(lines: try lines(to: "Scheduled recurring job 06a240d5"))
        let before = try #require(WallTime.milliseconds("2026-11-23T12:31:55Z"))
        #expect(created.jobs["06a240d5"]?.cron == "*/2 * * * *")
        #expect(created.next(now: before, in: .utc)?.at == 1_795_437_121_554)
        let fired = try wakeUps(lines: try lines(to: "scheduled_task_fire"))
        // The second fire was recorded at 12:34:01.618.
        #expect(fired.jobs["06a240d5"]?.next(now: before, in: .utc) == 1_795_437_241_554)
    }

    @Test("a recorded one-shot and a loop's turn are gone once they fired, a job once it is deleted")
    func recordedEnds() throws {
        let planned = try wakeUps(lines: try lines(to: "\"scheduledFor\""))
        #expect(planned.loopAt == 1_795_437_240_000)
        #expect(planned.jobs["9086a464"]?.isRecurring == false)
        let now = try #require(WallTime.milliseconds("2026-11-23T12:32:00Z"))
        #expect(planned.next(now: now, in: .utc)?.count == 3)
        let fired = try wakeUps(lines: try lines(to: "\"taskKind\":\"loop\""))
        #expect(fired.loopAt == nil)
        #expect(fired.jobs["9086a464"] == nil)
        #expect(fired.jobs["06a240d5"] != nil)
        let deleted = try wakeUps(lines: try lines(to: "\"clampedDelaySeconds\":1200"))
        #expect(deleted.jobs.isEmpty)
        #expect(deleted.loopAt == 1_795_439_280_000)
        // Escape.
        let ended = try wakeUps(lines: try lines(to: "session_cron_carry"))
        #expect(ended == ScheduledWakeUps())
        // The job that is kept in the project's file is read there.
        #expect(deleted.jobs["01452c3f"] == nil)
    }

    @Test("after compactions what is planned is what their notes say")
    func recordedNotes() throws {
        let wakeUps = try wakeUps()
        #expect(wakeUps.loopAt == 1_795_438_860_000)
        #expect(Array(wakeUps.jobs.keys) == ["1216d4d8"])
        #expect(wakeUps.jobs["1216d4d8"]?.cron == "*/7 * * * *")
    }

    @Test("a job that repeats ends with its age, a late one-shot does not come any more")
    func expiry() throws {
        let day: Int64 = 86_400_000
        var job = ScheduledWakeUps.Job(id: "00000000", cron: "0 0 * * *", createdAt: 0, isRecurring: true)
        #expect(
            job.next(now: 3 * day + 1, in: .utc) == nil || job.next(now: 3 * day + 1, in: .utc) == 4 * day)
        job.lastFiredAt = 3 * day
        #expect(job.next(now: 3 * day + 1, in: .utc) == 4 * day)
        #expect(job.next(now: 5 * day - 1, in: .utc) == 5 * day)
        // The last one is the first after its age.
        job.lastFiredAt = 6 * day + 1
        #expect(job.next(now: 6 * day + 2, in: .utc) == 7 * day)
        #expect(job.next(now: 8 * day, in: .utc) == nil)
        job.maxAge = 100 * day
        #expect(job.next(now: 29 * day + 1, in: .utc) == 30 * day)
        #expect(job.next(now: 31 * day, in: .utc) == nil)
        job.maxAge = WallTime.limit
        #expect(job.next(now: 400 * day + 1, in: .utc) == 401 * day)
        let once = ScheduledWakeUps.Job(id: "x", cron: "0 1 * * *", createdAt: 0, isRecurring: false)
        #expect(once.next(now: 0, in: .utc) == 3_600_000)
        #expect(once.next(now: 3_660_000, in: .utc) == 3_600_000)
        #expect(once.next(now: 5_000_000, in: .utc) == nil)
    }

    @Test("a failed call and a foreign answer plan nothing")
    func failed() {
        var wakeUps = ScheduledWakeUps()
        for line in [
            #"{"message":{"content":[{"type":"tool_use","id":"a","name":"CronCreate","input":{"cron":"* * * * *"}}]}}"#,
            #"{"message":{"content":[{"tool_use_id":"a"}]},"toolUseResult":"Error: too many scheduled jobs"}"#,
            #"{"message":{"content":[{"tool_use_id":"b"}]},"toolUseResult":{"scheduledFor":5000,"id":"x"}}"#,
            #"{"isSidechain":true,"attachment":{"type":"session_cron_carry","wakeup":{"scheduledFor":7}}}"#,
            #"{"message":{"content":"\"CronCreate\" session_cron_carry"}}"#,
        ] {
            wakeUps.take(Array(line.utf8), in: 0..<line.utf8.count)
        }
        #expect(wakeUps.jobs.isEmpty)
        #expect(wakeUps.loopAt == nil)
    }

    @Test(
        "the jobs of a project's file are run by the session that made them, or by the one that holds the lock"
    )
    func file() throws {
        let machine = try ClaudeMachine()
        let root = try machine.root()
        #expect(ScheduledTasksFile.jobs(of: "x", folder: "/srv/app", in: root).isEmpty)
        try machine.tree.write(
            try ClaudeFixtures.text("scheduled_tasks.json"), to: "root/srv/app/.claude/scheduled_tasks.json")
        let maker = "b612aed9-b628-448d-a914-6e46838d7022"
        #expect(ScheduledTasksFile.jobs(of: maker, folder: "/srv/app", in: root).map(\.id) == ["01452c3f"])
        #expect(ScheduledTasksFile.jobs(of: "other", folder: "/srv/app", in: root).isEmpty)
        try machine.tree.write(
            #"{"sessionId":"other","pid":1}"#, to: "root/srv/app/.claude/scheduled_tasks.lock")
        #expect(
            ScheduledTasksFile.jobs(of: "other", folder: "/srv/app", in: root).map(\.cron) == [
                "32 16 23 11 *"
            ])
        #expect(ScheduledTasksFile.holder(try ClaudeFixtures.bytes("scheduled_tasks.lock")) == maker)
    }
}
