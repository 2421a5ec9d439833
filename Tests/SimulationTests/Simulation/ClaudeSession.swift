import IdleDetector

/// One process of Claude as it lives: call in order of time, then `TruthBuilder.add` its source.
struct ClaudeSession {
    private(set) var source: Source
    /// Where its life has come to.
    private(set) var now: Millis
    let end: Millis

    init(pid: Int32, start: Millis, end: Millis, cause: String) {
        let id = "claude:\(pid):\(start)"
        source = Source(
            id: id, subject: "pid \(pid)", probe: .claude, cause: cause, marks: [.process, .files])
        source.phases = [Phase(start, .claudePrompt)]
        now = start
        self.end = end
    }

    var id: String { source.id }

    mutating func pass(_ length: Millis) { now += max(.second, length) }

    mutating func becomes(_ kind: Signal.Kind?) {
        if source.phases.last?.kind == kind { return }
        if source.phases.last?.from == now { source.phases.removeLast() }
        source.phases.append(Phase(now, kind))
    }

    /// Its transcript grows now.
    mutating func grow() { source.happenings.append(Happening(at: now, isReal: true)) }

    mutating func grow(_ records: [Happening]) { source.happenings += records }
}

extension TruthBuilder {
    /// A turn: busy, with a transcript that grows and tools; ends at the prompt.
    mutating func turn(
        _ session: inout ClaudeSession, _ length: Millis, cause: String = "claude turn",
        startsItself: Bool = false
    ) {
        let from = session.now
        session.becomes(.claudeBusy)
        session.grow()
        session.grow(beat(from, from + length, every: random.spread(8 * .second, .minute), jitter: 0.8))
        if random.chance(0.6), length > .minute {
            let start = from + random.between(5 * .second, length / 2)
            let stop = min(from + length, start + random.spread(5 * .second, length / 2))
            tool(session.id, start, stop, share: random.share(0.05, 1))
            if random.chance(0.5) { changeFiles([Happening(at: stop, isReal: true)]) }
        }
        session.pass(length)
        session.grow()
        session.becomes(.claudePrompt)
        work(from, session.now, cause, startsItself: startsItself)
    }

    @discardableResult
    mutating func tool(_ owner: String, _ from: Millis, _ to: Millis, share: Double, cause: String = "tool")
        -> Int
    {
        let stop = min(max(to, from + .second), end)
        var tool = source(
            .tool, "tool:\(process())", .claude, cause: cause, from: from, to: stop, marks: .output)
        tool.loads = [Load(from: from, to: stop, share: share)]
        tool.belongsTo = owner
        tool.isReal = share > 0.02
        return add(tool)
    }

    /// At a terminal, with its user: prompts, turns, questions.
    mutating func interactiveClaude(_ start: Millis) {
        var session = ClaudeSession(pid: process(), start: start, end: end, cause: "claude")
        let pid = process()
        var keys = [Happening(at: start + 10 * .second, isReal: true)]
        let rounds = 1 + Int(random.next() % 8)
        for _ in 0..<rounds {
            session.pass(random.spread(20 * .second, 15 * .minute))
            keys += beat(session.now - 20 * .second, session.now, every: 5 * .second, isReal: true)
            turn(&session, random.spread(15 * .second, 40 * .minute))
            guard random.chance(0.3) else { continue }
            session.becomes(.claudeAsking)
            note(session.now, "Claude asks its user")
            let answer = session.now + random.spread(30 * .second, 14 * .hour)
            if random.chance(0.15) || answer > end { break }
            session.pass(answer - session.now)
            keys.append(Happening(at: session.now, isReal: true))
            turn(&session, random.spread(15 * .second, 20 * .minute))
        }
        let gone = min(end, session.now + random.spread(2 * .minute, 100 * .hour))
        let asks = session.source.phases.last?.kind == .claudeAsking
        note(
            start,
            "Claude at a terminal, \(rounds) turns, until \(gone.clockText)\(asks ? ", ends in a question" : "")"
        )
        session.pass(gone - session.now)
        session.becomes(nil)
        var terminal = source(
            .terminal, "terminal:pts/\(pid)", .terminals, cause: "person", from: start, to: gone,
            marks: .login)
        terminal.happenings = keys
        add(terminal)
        add(source(.ssh, "ssh:\(pid)", .ssh, cause: "forgotten ssh", from: start, to: gone))
        add(session.source)
    }

    /// Hours without a word, while a tool uses CPU.
    mutating func silentTurn(_ start: Millis) {
        let length = random.spread(.hour, 15 * .hour)
        lonelyTurn(start, length, cause: "silent turn", share: random.share(0.08, 1.5))
    }

    /// Retries against an API that does not answer: no progress at all.
    mutating func apiWait(_ start: Millis) {
        lonelyTurn(start, random.spread(10 * .minute, 18 * .hour), cause: "wait for the API", share: nil)
    }

    /// Stuck in a turn for ever.
    mutating func hungClaude(_ start: Millis) {
        let stop = min(end, start + random.spread(13 * .hour, 120 * .hour))
        note(start, "Claude hangs in a turn until \(stop.clockText)")
        var session = ClaudeSession(pid: process(), start: start, end: end, cause: "hung claude")
        session.pass(20 * .second)
        session.becomes(.claudeBusy)
        session.grow()
        session.pass(stop - session.now)
        session.becomes(nil)
        add(session.source)
    }

    private mutating func lonelyTurn(_ start: Millis, _ length: Millis, cause: String, share: Double?) {
        var session = ClaudeSession(pid: process(), start: start, end: end, cause: cause)
        session.pass(30 * .second)
        let from = session.now
        note(from, "\(cause) until \((from + length).clockText)")
        session.becomes(.claudeBusy)
        session.grow()
        if let share { tool(session.id, from + 5 * .second, from + length, share: share, cause: cause) }
        // What its tool did may be thought about for long as well.
        session.pass(length + (share != nil && random.chance(0.3) ? random.spread(.minute, 8 * .hour) : 0))
        session.grow()
        session.becomes(.claudePrompt)
        work(from, session.now, cause)
        session.pass(random.spread(.minute, 30 * .hour))
        session.becomes(nil)
        add(session.source)
    }

    /// Nothing tells what it does.
    mutating func unknownClaude(_ start: Millis) {
        let stop = min(end, start + random.spread(10 * .minute, 60 * .hour))
        note(start, "a Claude of unknown status until \(stop.clockText)")
        var session = ClaudeSession(pid: process(), start: start, end: end, cause: "unknown claude")
        session.becomes(.claudeUnknown)
        session.pass(stop - start)
        session.becomes(nil)
        add(session.source)
    }

    /// `kill -9` in the midst of a turn, and what outlives it.
    mutating func killedClaude(_ start: Millis) {
        var session = ClaudeSession(pid: process(), start: start, end: end, cause: "claude")
        session.pass(30 * .second)
        let from = session.now
        session.becomes(.claudeBusy)
        session.grow(beat(from, from + 3 * .minute, every: 15 * .second, isReal: true))
        session.pass(random.spread(2 * .minute, 2 * .hour))
        let killed = session.now
        session.becomes(nil)
        add(session.source)
        work(from, killed, "claude turn")
        let survives = random.pick(["nothing", "a build", "a silent tool"])
        note(killed, "kill -9 of Claude; \(survives) survives")
        guard survives != "nothing" else { return }
        let stop = min(end, killed + random.spread(20 * .minute, 20 * .hour))
        let isBuild = survives == "a build"
        let share = isBuild ? random.share(0.1, 0.9) : 0.003
        let index = tool(session.id, from + 30 * .second, stop, share: share, cause: "orphan")
        truth.sources[index].phases.insert(Phase(killed, .orphan), at: 1)
        if isBuild { work(from + 30 * .second, stop, "orphan") }
    }

    /// At its prompt with a background task: a server, a build, or something that waits for others.
    mutating func backgroundShell(_ start: Millis) {
        var session = ClaudeSession(pid: process(), start: start, end: end, cause: "background task")
        session.pass(20 * .second)
        turn(&session, random.spread(.minute, 10 * .minute))
        let from = session.now
        let task = random.pick(["dev server", "background build", "silent background wait"])
        let isServer = task == "dev server"
        let stop = min(
            end,
            from + (isServer ? random.spread(3 * .hour, 100 * .hour) : random.spread(10 * .minute, 6 * .hour))
        )
        note(from, "Claude is at its prompt with a \(task) until \(stop.clockText)")
        session.becomes(.claudeShell)
        let share = task == "background build" ? random.share(0.08, 1.2) : random.share(0.0005, 0.008)
        let index = tool(session.id, from, stop, share: share, cause: task)
        if isServer { truth.sources[index].marks.insert(.process) } else { work(from, stop, task) }
        session.pass(stop - from)
        if isServer {
            session.becomes(.claudePrompt)
        } else {
            turn(&session, random.spread(20 * .second, 10 * .minute))
        }
        session.pass(random.spread(.minute, 20 * .hour))
        session.becomes(nil)
        add(session.source)
    }

    mutating func subagents(_ start: Millis) {
        var session = ClaudeSession(pid: process(), start: start, end: end, cause: "subagents")
        session.pass(10 * .second)
        let from = session.now
        let stop = from + random.spread(20 * .minute, 7 * .hour)
        note(from, "Claude and its subagents until \(stop.clockText)")
        session.becomes(.claudeBusy)
        session.grow(
            beat(from, stop, every: random.spread(20 * .second, 20 * .minute), isReal: true, jitter: 0.9))
        for _ in 0..<3 {
            let begin = random.between(from, stop)
            tool(
                session.id, begin, min(stop, begin + random.spread(.minute, .hour)),
                share: random.share(0.06, 1))
        }
        session.pass(stop - from)
        session.becomes(nil)
        add(session.source)
        work(from, stop, "claude turn")
    }

    /// Goes on by itself later: once, or again and again for days.
    mutating func wakeUps(_ start: Millis) {
        let isLoop = random.chance(0.5)
        var session = ClaudeSession(
            pid: process(), start: start, end: end, cause: isLoop ? "loop" : "wake-up")
        let every =
            isLoop
            ? random.spread(5 * .minute, 2 * .hour) : random.pick([.hour, 6 * .hour, 20 * .hour, 40 * .hour])
        let last = min(end, isLoop ? start + random.spread(4 * .hour, 110 * .hour) : start + every + .minute)
        let id = "wake-up:\(process())"
        var plan = Source(id: id, subject: id, probe: .claude, cause: isLoop ? "loop" : "wake-up")
        note(start, "Claude goes on by itself every \(every / .minute) min until \(last.clockText)")
        session.pass(20 * .second)
        turn(&session, random.spread(20 * .second, 10 * .minute))
        while session.now + every < last {
            let due = session.now + every
            plan.phases.append(Phase(session.now, .wakeUp, until: due))
            let begin = due + random.between(.second, 30 * .second)
            session.pass(begin - session.now)
            plan.phases.append(Phase(begin + .second, nil))
            turn(
                &session, random.spread(15 * .second, min(every / 2, 15 * .minute)), cause: "wake-up",
                startsItself: true)
        }
        session.pass(random.spread(.minute, 20 * .hour))
        session.becomes(nil)
        add(session.source)
        if !plan.phases.isEmpty { add(plan) }
    }

    /// `claude -p` of a script.
    mutating func headlessClaude(_ start: Millis) {
        var session = ClaudeSession(pid: process(), start: start, end: end, cause: "claude")
        note(start, "claude -p")
        session.pass(.second)
        turn(&session, random.spread(10 * .second, 90 * .minute))
        session.becomes(nil)
        add(session.source)
    }
}
