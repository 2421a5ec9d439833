import IdleDetector

/// Humans, and what they leave behind.
extension TruthBuilder {
    /// Somebody works over SSH, and perhaps forgets the session.
    mutating func sshWork(_ start: Millis) {
        let leave = start + random.spread(3 * .minute, 4 * .hour)
        let close = random.chance(0.5) ? leave : min(end, leave + random.spread(.hour, 72 * .hour))
        note(
            start,
            "a human logs in over SSH, types until \(leave.clockText), session open until \(close.clockText)")
        login(start, close, keys: typing(start + 20 * .second, leave))
        if random.chance(0.4) { changeFiles(edits(start, leave)) }
    }

    /// Hours at the keyboard without ever getting up.
    mutating func marathon(_ start: Millis) {
        let leave = start + random.spread(2 * .hour, 8 * .hour)
        note(start, "a human types without a pause until \(leave.clockText)")
        var keys: [Happening] = []
        var now = start + 20 * .second
        while now < leave {
            keys.append(Happening(at: now, isReal: true))
            now += random.spread(5 * .second, 4 * .minute)
        }
        login(start, min(end, leave + .hour), keys: keys)
    }

    private mutating func login(_ from: Millis, _ to: Millis, keys: [Happening], cause: String = "person") {
        let pid = process()
        var terminal = source(
            .terminal, "terminal:pts/\(pid)", .terminals, cause: cause, from: from, to: to, marks: .login)
        terminal.happenings = keys
        add(terminal)
        add(source(.ssh, "ssh:\(pid)", .ssh, cause: "forgotten ssh", from: from, to: to))
    }

    mutating func edits(_ from: Millis, _ to: Millis) -> [Happening] {
        var saves: [Happening] = []
        var now = from + random.between(.minute, 5 * .minute)
        while now < to {
            saves.append(Happening(at: now, isReal: true))
            now += random.spread(20 * .second, 20 * .minute)
        }
        return saves
    }

    /// An editor that works on the machine's files from afar: no keys on any terminal.
    mutating func remoteEditor(_ start: Millis) {
        let leave = start + random.spread(20 * .minute, 5 * .hour)
        note(start, "a human edits files in an editor until \(leave.clockText)")
        changeFiles(edits(start, leave))
        var channel = source(
            .transfer, "ssh-bytes:\(process())", .ssh, cause: "forgotten ssh", from: start,
            to: min(end, leave + random.spread(.minute, 20 * .hour)), marks: .process)
        channel.happenings = beat(start, leave, every: 30 * .second)
        add(channel)
    }

    /// Clicks in the web UI; the tab stays open and polls.
    mutating func webUI(_ start: Millis) {
        let port = random.pick([3001, 5173])
        let leave = start + random.spread(2 * .minute, 3 * .hour)
        let close = random.chance(0.3) ? leave : min(end, leave + random.spread(.hour, 90 * .hour))
        var clicks: [Happening] = []
        var now = start
        while now < leave {
            clicks.append(Happening(at: now, isReal: true))
            now += random.spread(5 * .second, 14 * .minute)
        }
        let polls = random.pick(weighted: [(4, "GET"), (2, "websocket"), (1, "POST")])
        note(
            start,
            "clicks on port \(port) until \(leave.clockText), the tab (\(polls)) stays until \(close.clockText)"
        )
        let rhythm: Millis = polls == "websocket" ? 25 * .second : 5 * .second
        let polling = beat(start, close, every: rhythm)
        if polls == "POST" {
            request(port, person: clicks + polling)
        } else {
            request(port, person: clicks, background: polls == "GET" ? polling : [])
        }
        openTab(port, start, close)
    }

    /// Two or three clicks, nothing else.
    mutating func glance(_ start: Millis) {
        note(start, "a glance at the web UI")
        let clicks = (0..<3).map { Happening(at: start + Millis($0) * 40 * .second, isReal: true) }
        request(3001, person: clicks)
        openTab(3001, start, start + 3 * .minute)
    }

    /// tmux on a forgotten terminal with a program in it.
    mutating func terminalProgram(_ start: Millis) {
        let leave = start + random.spread(2 * .minute, 40 * .minute)
        let close = min(end, leave + random.spread(2 * .hour, 80 * .hour))
        let program = random.pick(["repaints", "queries the terminal", "tail -f"])
        note(
            start,
            "tmux with a program that \(program) stays until \(close.clockText); keys until \(leave.clockText)"
        )
        var keys = typing(start + 20 * .second, leave)
        if program == "queries the terminal" {
            keys += beat(leave, close, every: random.spread(2 * .second, 3 * .minute))
        }
        login(start, close, keys: keys, cause: "terminal program")
        var pane = source(
            .terminalPane, "terminal:pane\(process())", .terminals, cause: "terminal program", from: start,
            to: close)
        pane.happenings = beat(start, min(close, start + .hour), every: .minute)
        add(pane)
    }

    mutating func scanner(_ start: Millis) {
        let stop = min(end, start + random.spread(.minute, 30 * .hour))
        note(start, "port scanners and failed logins until \(stop.clockText)")
        openTab(3001, start, stop)
    }

    /// A big copy over SSH.
    mutating func copy(_ start: Millis) {
        let stop = start + random.spread(2 * .minute, 5 * .hour)
        note(start, "scp copies until \(stop.clockText)")
        login(start, start + 30 * .second, keys: [Happening(at: start + 20 * .second, isReal: true)])
        var transfer = source(
            .transfer, "ssh-bytes:\(process())", .ssh, cause: "transfer over SSH", from: start, to: stop)
        transfer.happenings = beat(start, stop, every: 15 * .second, isReal: true)
        transfer.isReal = true
        add(transfer)
        work(start, stop, "transfer over SSH")
        changeFiles([Happening(at: stop, isReal: true)])
    }

    /// Holds are taken generously, and forgotten.
    mutating func hold(_ start: Millis) {
        let length = random.pick([2 * .hour, 8 * .hour, 24 * .hour, 72 * .hour])
        let stop = random.chance(0.5) ? end : min(end, start + random.spread(.hour, length))
        note(start, "samd hold \(length / .hour)h, released \(stop == end ? "never" : stop.clockText)")
        login(start - .minute, start, keys: [Happening(at: start - 30 * .second, isReal: true)])
        add(
            source(
                .hold, "hold:\(process())", nil, cause: "hold", from: start, to: min(stop, start + length),
                until: start + length))
    }
}
