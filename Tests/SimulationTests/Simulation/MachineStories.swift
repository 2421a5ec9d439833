import IdleDetector

/// Programs that nobody watches.
extension TruthBuilder {
    /// Something of the workspace with a load that is far above or far below the floor of progress.
    private mutating func job(
        _ name: String, _ from: Millis, _ to: Millis, share: Double, cause: String,
        marks: NaiveMarks = []
    ) {
        var job = source(
            .job, "\(name):\(process())", .jobs, cause: cause, from: from, to: min(to, end), marks: marks)
        job.loads = [Load(from: from, to: min(to, end), share: share)]
        job.isReal = true
        add(job)
        work(from, to, cause)
    }

    /// Prints nothing and uses CPU.
    mutating func testRun(_ start: Millis) {
        let stop = start + random.spread(10 * .minute, 9 * .hour)
        note(start, "a silent test run until \(stop.clockText)")
        job("tests", start, stop, share: random.share(0.08, 1.9), cause: "test run")
    }

    mutating func download(_ start: Millis) {
        let stop = start + random.spread(5 * .minute, 6 * .hour)
        note(start, "a download until \(stop.clockText)")
        job("curl", start, stop, share: random.share(0.2, 0.8), cause: "download", marks: .output)
    }

    mutating func otherAgent(_ start: Millis) {
        let stop = start + random.spread(3 * .minute, 3 * .hour)
        let exit = min(end, stop + random.spread(.minute, 60 * .hour))
        note(start, "another agent works until \(stop.clockText), stays until \(exit.clockText)")
        var agent = source(
            .agent, "codex:\(process())", .agents, cause: "another agent", from: start, to: exit)
        agent.loads = [Load(from: start, to: min(stop, end), share: random.share(0.1, 0.5))]
        agent.isReal = true
        add(agent)
        work(start, stop, "another agent")
    }

    /// A job of cron for the rest of the machine's life: seldom or often, short or long.
    mutating func cron(_ start: Millis) {
        let every = random.pick([20 * .minute, .hour, 6 * .hour, 24 * .hour])
        let length = random.spread(20 * .second, min(every / 2, 40 * .minute))
        let stop = min(end, start + random.spread(6 * .hour, 60 * .hour))
        note(start, "cron every \(every / .minute) min for \(length / .second) s until \(stop.clockText)")
        var from = start
        while from < stop {
            let to = min(end, from + length)
            var run = source(.job, "cron:\(process())", .jobs, cause: "cron", from: from, to: to)
            run.loads = [Load(from: from, to: to, share: random.share(0.4, 1))]
            run.isReal = true
            add(run)
            work(from, to, "cron", startsItself: true)
            from += every
        }
    }

    /// A server that was started by hand and never ends; requests are below the floor.
    mutating func server(_ start: Millis) {
        let stop = min(end, start + random.spread(3 * .hour, 100 * .hour))
        note(start, "a server in tmux runs until \(stop.clockText)")
        var server = source(
            .job, "vite:\(process())", .jobs, cause: "dev server", from: start, to: stop, marks: .process)
        server.loads = [Load(from: start, to: stop, share: random.share(0.0005, 0.009))]
        add(server)
    }

    mutating func chattyLog(_ start: Millis) {
        let stop = min(end, start + random.spread(2 * .hour, 100 * .hour))
        let every = random.spread(5 * .second, 3 * .minute)
        note(start, "a log in the workspace grows every \(every / .second) s until \(stop.clockText)")
        changeFiles(beat(start, stop, every: every))
    }

    mutating func periodicWriter(_ start: Millis) {
        let stop = min(end, start + random.spread(2 * .hour, 100 * .hour))
        let every = random.between(6 * .minute, 27 * .minute)
        note(start, "something writes a file every \(every / .minute) min until \(stop.clockText)")
        changeFiles(beat(start, stop, every: every))
    }

    // MARK: samd itself

    mutating func operation(_ start: Millis) {
        let stop = start + random.spread(5 * .second, 20 * .minute)
        note(start, "samd backs up until \(stop.clockText)")
        add(
            source(.operation, "operation:\(process())", nil, cause: "samd's own work", from: start, to: stop)
        )
    }

    /// One that never ends.
    mutating func stuckOperation(_ start: Millis) {
        let stop = min(end, start + random.spread(3 * .hour, 20 * .hour))
        note(start, "a backup of samd hangs until \(stop.clockText)")
        add(
            source(.operation, "operation:\(process())", nil, cause: "samd's own work", from: start, to: stop)
        )
    }

    /// Blindness, pauses, restarts, reboots, jumps of the wall clock, slow snapshots.
    mutating func troubles() {
        for probe in Probe.allCases {
            truth.offsets.append(random.between(0, probe.interval))
            let isImmediate = probe == .claude || probe == .web
            truth.delays.append(random.between(0, isImmediate ? 500 : 15 * .second))
        }
        let days = Double(end) / Double(Millis.day)
        trouble(0.25 * days, least: 5 * .second, most: 8 * .hour) { .blind($0.pick(Probe.allCases)) }
        trouble(0.2 * days, least: 5 * .second, most: 10 * .minute) { _ in .pause }
        trouble(0.2 * days, least: .second, most: 15 * .second) {
            .restart(isKilled: $0.chance(0.5))
        }
        trouble(0.03 * days, least: 5 * .minute, most: 4 * .hour) {
            .restart(isKilled: $0.chance(0.5))
        }
        trouble(0.05 * days, least: 5 * .second, most: 2 * .hour) { _ in .hang }
        trouble(0.08 * days, least: 15 * .second, most: 5 * .minute) { _ in .reboot }
        if random.chance(0.2) {
            let jump = random.pick([-48, -3, -1, 1, 3, 48]) * Millis.hour
            truth.jumps.append((random.between(0, end), jump))
            note(truth.jumps[0].at, "the wall clock jumps by \(jump / .hour) h")
        }
    }

    /// About `count` outages, each with an hour around it that is free of others.
    private mutating func trouble(
        _ count: Double, least: Millis, most: Millis, _ kind: (inout SplitMix64) -> Outage.Kind
    ) {
        var left = count
        while left > 0 {
            defer { left -= 1 }
            guard random.chance(min(1, left)) else { continue }
            let from = random.between(.hour, max(2 * .hour, end - .hour))
            let outage = Outage(kind: kind(&random), from: from, to: from + random.spread(least, most))
            let isFree = truth.outages.allSatisfy {
                outage.to + .hour < $0.from || $0.to + .hour < outage.from
            }
            guard isFree else { continue }
            truth.outages.append(outage)
            note(from, "\(outage.kind) until \(outage.to.clockText)")
        }
    }
}
