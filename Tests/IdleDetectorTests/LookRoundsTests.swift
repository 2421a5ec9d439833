import Glibc
import Supervision
import Synchronization
import Testing

@testable import IdleDetector

/// What scripted probes and sources are asked for, and answer.
private final class Script: Sendable {
    struct State {
        var looks: [String: [Moment]] = [:]
        var tables: [Moment] = []
        var hasNewClaude = false
        var claude: [Int32: String] = [:]
        var failing: Set<String> = []
        var blindSpots: [String: String] = [:]
        var signals: [String: [Signal]] = [:]
        var isUnreadable = false
    }
    let state = Mutex(State())
}

private struct ScriptedSource: ProcessSource {
    let script: Script

    mutating func table(at now: Moment) throws(ProbeFailure) -> ProcessTable {
        let (isFailing, isUnreadable) = script.state.withLock { state in
            state.tables.append(now)
            return (state.failing.contains("processes"), state.isUnreadable)
        }
        if isFailing { throw ProbeFailure("list /proc: no") }
        return ProcessTable(at: now, unreadable: isUnreadable ? (3, "denied") : nil)
    }

    mutating func hasNewClaude() -> Bool {
        script.state.withLock { state in
            defer { state.hasNewClaude = false }
            return state.hasNewClaude
        }
    }

    mutating func claude(in table: ProcessTable) -> [Int32: String] { script.state.withLock { $0.claude } }
}

private struct ScriptedProbe: ActivityProbe {
    let name: String
    var interval: Duration = .seconds(15)
    var wakeDescriptor: Int32?
    let script: Script

    mutating func look(_ context: LookContext) throws(ProbeFailure) -> ProbeFindings {
        let (name, now) = (name, context.now)
        let (isFailing, findings) = script.state.withLock { state in
            state.looks[name, default: []].append(now)
            return (
                state.failing.contains(name),
                ProbeFindings(signals: state.signals[name] ?? [], blindSpot: state.blindSpots[name])
            )
        }
        if isFailing { throw ProbeFailure("look", hint: "mend it") }
        return findings
    }
}

@Suite("Look rounds")
struct LookRoundsTests {
    private let script = Script()
    private var now = Moment(milliseconds: 50_000)
    private var rounds: LookRounds

    init() {
        let script = script
        rounds = LookRounds(
            source: ScriptedSource(script: script),
            probes: [
                ScriptedProbe(name: "claude", wakeDescriptor: 7, script: script),
                ScriptedProbe(name: "tools", interval: .seconds(5), script: script),
                ScriptedProbe(name: "files", interval: .seconds(60), script: script),
            ], now: Moment(milliseconds: 50_000))
    }

    private func looks(_ name: String) -> Int { script.state.withLock { $0.looks[name]?.count ?? 0 } }
    private var tables: Int { script.state.withLock { $0.tables.count } }

    @discardableResult
    private mutating func round(
        after duration: Duration = .zero, readable: Set<Int32> = [], ended: Bool = false
    ) -> ActivitySnapshot? {
        now = now + duration
        return rounds.round(now: now, readable: readable, hasClaudeEnded: ended)
    }

    /// Rounds whenever they are due, as the thread makes them.
    private mutating func run(_ duration: Duration) -> [ActivitySnapshot] {
        let end = now + duration
        var told: [ActivitySnapshot] = []
        while rounds.due <= end {
            now = max(now, rounds.due)
            if let snapshot = rounds.round(now: now, readable: [], hasClaudeEnded: false) {
                told.append(snapshot)
            }
        }
        now = end
        return told
    }

    private func signal(_ id: String) -> Signal { Signal(id: id, kind: .job, subject: id, since: now) }

    @Test("the first round reads the processes and lets every probe look")
    mutating func first() {
        let snapshot = round()
        #expect(snapshot?.probes.map(\.name) == ["processes", "claude", "tools", "files"])
        #expect(snapshot?.probes.allSatisfy { $0.lastLook == now } == true)
        #expect(tables == 1)
    }

    @Test("each probe looks at its own pace, and nothing changed is told every 15 s only")
    mutating func pace() {
        round()
        let told = run(.seconds(120))
        #expect(looks("claude") == 1 + 8)
        #expect(looks("tools") == 1 + 24)
        #expect(looks("files") == 1 + 2)
        #expect(tables == 1 + 8)
        #expect(told.count <= 9)
        #expect(told.count >= 7)
    }

    @Test("a change is told at once, in the order of ids")
    mutating func change() {
        round()
        script.state.withLock { $0.signals["claude"] = [signal("b"), signal("a")] }
        #expect(round(after: .milliseconds(10), readable: [7])?.signals.map(\.id) == ["a", "b"])
        #expect(round(after: .milliseconds(10), readable: [7]) == nil)
    }

    @Test("a session's file that changed is looked at in the same round, its tools within a second")
    mutating func woken() {
        round()
        round(after: .milliseconds(100), readable: [7])
        #expect(looks("claude") == 2)
        _ = run(.seconds(1))
        #expect(looks("tools") == 2)
    }

    @Test("a new Claude is found within a second, from a new table")
    mutating func newClaude() {
        round()
        script.state.withLock { $0.hasNewClaude = true }
        _ = run(.milliseconds(1001))
        #expect(tables == 2)
        #expect(looks("claude") == 2)
        #expect(looks("tools") == 2)
        #expect(looks("files") == 1)
    }

    @Test("the end of a Claude leads to a new table and new looks at sessions and tools")
    mutating func ended() {
        round()
        round(after: .seconds(2), ended: true)
        #expect(tables == 2)
        #expect(looks("claude") == 2)
        #expect(looks("tools") == 2)
    }

    @Test("Claudes that come and go all the time cost two tables a second at most")
    mutating func storm() {
        round()
        for _ in 0..<100 { round(after: .milliseconds(10), ended: true) }
        #expect(tables <= 4)
    }

    @Test("a probe that fails keeps what it saw, says since when and why, and holds up no other")
    mutating func failing() {
        script.state.withLock { $0.signals["files"] = [signal("f")] }
        round()
        script.state.withLock { $0.failing = ["files"] }
        let since = now + .seconds(60)
        let told = run(.seconds(200))
        let last = told.last
        #expect(last?.signals.map(\.id) == ["f"])
        let report = last?.probes.first { $0.name == "files" }
        #expect(report?.failingSince == since)
        #expect(report?.reason == "look; mend it")
        #expect(report?.lastLook == since - .seconds(60))
        #expect(last?.probes.filter { $0.failingSince != nil }.count == 1)
        script.state.withLock { $0.failing = [] }
        #expect(run(.seconds(61)).last?.probes.allSatisfy { $0.failingSince == nil } == true)
    }

    @Test("a blind spot is told together with what was seen beside it")
    mutating func blindSpot() {
        script.state.withLock { state in
            state.signals["claude"] = [signal("c")]
            state.blindSpots["claude"] = "pid 7: denied"
        }
        let snapshot = round()
        #expect(snapshot?.signals.map(\.id) == ["c"])
        #expect(snapshot?.probes[1].reason == "pid 7: denied")
    }

    @Test(
        "processes that cannot be read, or not all of them, are a report of their own",
        arguments: [true, false])
    mutating func unreadable(whole: Bool) {
        script.state.withLock { state in
            if whole { state.failing = ["processes"] } else { state.isUnreadable = true }
        }
        let snapshot = round()
        #expect(snapshot?.probes.first?.failingSince == now)
        #expect(snapshot?.probes.first?.reason?.contains(whole ? "list /proc" : "3 processes") == true)
        // Who has never seen a process has seen nothing.
        #expect(snapshot?.probes.dropFirst().allSatisfy { ($0.lastLook == nil) == whole } == true)
    }
}

@Suite("Idle monitor")
struct IdleMonitorTests {
    @Test("the thread wakes for a probe's descriptor and tells what it sees")
    func wakes() async throws {
        let script = Script()
        var ends: [Int32] = [-1, -1]
        try #require(pipe2(&ends, O_CLOEXEC) == 0)
        defer { for end in ends { close(end) } }
        let reader = ends[0]
        let (snapshots, continuation) = AsyncStream.makeStream(
            of: ActivitySnapshot.self, bufferingPolicy: .bufferingNewest(16))
        let service = IdleMonitor(
            monitor: ServiceMonitor(name: "idle"),
            makeParts: {
                IdleMonitor.Parts(
                    source: ScriptedSource(script: script),
                    probes: [ScriptedProbe(name: "claude", wakeDescriptor: reader, script: script)])
            }, onSnapshot: { continuation.yield($0) })
        let task = Task { try await service.run() }
        var iterator = snapshots.makeAsyncIterator()
        let first = await iterator.next()
        #expect(first?.signals.isEmpty == true)
        script.state.withLock {
            $0.signals["claude"] = [Signal(id: "x", kind: .claudeBusy, subject: "x", since: .now())]
        }
        var byte: UInt8 = 1
        #expect(write(ends[1], &byte, 1) == 1)
        // One that was due anyway may come before.
        var second = await iterator.next()
        while second?.signals.isEmpty == true { second = await iterator.next() }
        #expect(second?.signals.map(\.id) == ["x"])
        task.cancel()
        try await task.value
    }

    @Test("the end of a process is noticed")
    func processEnds() throws {
        var ends = ProcessEnds()
        var pid: pid_t = 0
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("cat"), nil]
        defer { free(arguments[0]) }
        var input: [Int32] = [-1, -1]
        try #require(pipe2(&input, O_CLOEXEC) == 0)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input[0], 0)
        try #require(posix_spawn(&pid, "/bin/cat", &actions, nil, &arguments, environ) == 0)
        close(input[0])
        ends.watch([pid])
        let watched = try #require(ends.readable.first)
        var polled = pollfd(fd: watched, events: Int16(POLLIN), revents: 0)
        #expect(poll(&polled, 1, 0) == 0)
        close(input[1])
        #expect(poll(&polled, 1, 10_000) == 1)
        let hasEnded = ends.forget([watched])
        #expect(hasEnded)
        #expect(ends.readable.isEmpty)
        let hasEndedAgain = ends.forget([watched])
        #expect(!hasEndedAgain)
        waitpid(pid, nil, 0)
    }
}
