import Glibc
import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("Transcripts of Claude")
struct ClaudeTranscriptTests {
    @Test(
        "the end of a recorded transcript says whether the turn goes on",
        arguments: [
            ("finished", TranscriptTail.Turn.finished), ("streaming", .inProgress),
            ("interrupted", .finished),
            ("tool-running", .inProgress), ("tool-interrupted", .finished), ("permission", .inProgress),
            ("question", .inProgress), ("compacted", .finished), ("print", .finished),
            ("print-busy", .inProgress),
        ])
    func recorded(_ name: String, _ turn: TranscriptTail.Turn) throws {
        #expect(
            TranscriptTail.turn(try ClaudeFixtures.bytes("transcript-\(name).jsonl"), isWhole: true) == turn)
    }

    @Test("a line that is being written does not count, nor one that was cut at the beginning")
    func torn() throws {
        let finished =
            #"{"type":"assistant","message":{"stop_reason":"end_turn","content":[{"type":"text","text":"ok"}]}}"#
        let prompt = #"{"type":"user","message":{"content":"go on"}}"#
        func turn(_ text: String, isWhole: Bool = true) -> TranscriptTail.Turn {
            TranscriptTail.turn(Array(text.utf8), isWhole: isWhole)
        }
        #expect(turn("\(finished)\n\(prompt)\n") == .inProgress)
        #expect(turn("\(finished)\n\(prompt)") == .finished)
        #expect(turn("\(finished)\n", isWhole: false) == .unknown)
        #expect(turn("x\n\(finished)\n", isWhole: false) == .finished)
        #expect(turn("") == .unknown)
        #expect(turn("\n\n\n") == .unknown)
        #expect(turn("no json\n\(finished)\n{\"type\":\n[]\n7\n") == .finished)
    }

    @Test(
        "other records count for what they are",
        arguments: [
            (#"{"type":"assistant","isSidechain":true,"message":{"stop_reason":"tool_use"}}"#, nil),
            (#"{"type":"assistant","message":{"stop_reason":"max_tokens"}}"#, .finished),
            (#"{"type":"assistant","message":{"stop_reason":null}}"#, .inProgress),
            (#"{"type":"user","message":{"content":[{"type":"tool_result","content":"x"}]}}"#, .inProgress),
            (#"{"type":"user","isMeta":true,"message":{"content":"check the build"}}"#, .inProgress),
            (#"{"type":"user","message":{"content":"<command-name>/cost</command-name>"}}"#, nil),
            (#"{"type":"user","isCompactSummary":true,"message":{"content":"This session"}}"#, nil),
            (#"{"type":"system","subtype":"scheduled_task_fire"}"#, nil),
            (#"{"type":"new-in-2030","message":{"content":"x"}}"#, nil),
        ] as [(String, TranscriptTail.Turn?)])
    func records(_ line: String, _ turn: TranscriptTail.Turn?) throws {
        let bytes = Array(line.utf8)
        #expect(try TranscriptRecord(bytes, in: 0..<bytes.count).turn == turn)
    }

    // MARK: - On disk

    private func look(
        _ follower: inout TranscriptFollower, _ machine: ClaudeMachine, at seconds: Int64, session: String?
    ) throws -> Bool {
        var budget = TranscriptFollower.sharedReadLimit
        return follower.look(
            sessionID: session, folder: "/srv/app", home: try machine.home, in: try machine.root(),
            at: Moment(milliseconds: seconds * 1000), budget: &budget)
    }

    @Test("growth of a session's transcript, or of one of its agents', is progress; standing still is none")
    func growth() throws {
        let machine = try ClaudeMachine()
        var follower = TranscriptFollower()
        let id = ClaudeMachine.sessionID
        #expect(try !look(&follower, machine, at: 0, session: id))
        #expect(!follower.isFound)
        try machine.tree.write("{}\n", to: machine.transcript())
        #expect(try !look(&follower, machine, at: 100, session: id))
        #expect(follower.isFound)
        #expect(try !look(&follower, machine, at: 101, session: id))
        try machine.tree.write("{}\n{}\n", to: machine.transcript())
        #expect(try look(&follower, machine, at: 102, session: id))
        #expect(try !look(&follower, machine, at: 103, session: id))
        try machine.tree.write(
            "{}\n", to: "\(machine.config)/projects/-srv-app/\(id)/subagents/agent-1.jsonl")
        #expect(try look(&follower, machine, at: 104, session: id))
        #expect(try !look(&follower, machine, at: 105, session: id))
    }

    @Test("a transcript is found in another project's folder, and without a session the one written last")
    func elsewhere() throws {
        let machine = try ClaudeMachine()
        var follower = TranscriptFollower()
        let id = ClaudeMachine.sessionID
        try machine.tree.write("{}\n", to: "\(machine.config)/projects/-work-other/\(id).jsonl")
        _ = try look(&follower, machine, at: 0, session: id)
        #expect(follower.isFound)
        try machine.tree.write(
            try ClaudeFixtures.text("transcript-streaming.jsonl"), to: machine.transcript("new"))
        try machine.tree.write(
            try ClaudeFixtures.text("transcript-finished.jsonl"), to: machine.transcript("old"))
        var times = [timespec(tv_sec: 1, tv_nsec: 0), timespec(tv_sec: 1, tv_nsec: 0)]
        try #require(utimensat(AT_FDCWD, "\(machine.tree.root)/\(machine.transcript("old"))", &times, 0) == 0)
        var other = TranscriptFollower()
        _ = try look(&other, machine, at: 0, session: nil)
        let turn = other.turn(home: try machine.home, in: try machine.root())
        #expect(turn == .inProgress)
    }

    @Test(
        "a session's id that leads elsewhere is none",
        arguments: ["../../../etc/passwd", "", "a/b", "a\0b", "."])
    func hostileID(_ id: String) throws {
        let machine = try ClaudeMachine()
        var follower = TranscriptFollower()
        try machine.tree.write("{}\n", to: "\(machine.config)/projects/-srv-app/.jsonl")
        #expect(try !look(&follower, machine, at: 0, session: id))
        #expect(!follower.isFound)
    }

    @Test(
        "wake-ups are read from the end of a large transcript and from what is added, over lines of any length"
    )
    func incremental() throws {
        let machine = try ClaudeMachine()
        var follower = TranscriptFollower()
        let id = ClaudeMachine.sessionID
        let call =
            #"{"message":{"content":[{"type":"tool_use","id":"t","name":"ScheduleWakeup","input":{}}]}}"#
            + "\n"
        let result =
            #"{"message":{"content":[{"tool_use_id":"t"}]},"toolUseResult":{"scheduledFor":5000}}"# + "\n"
        let long = "{\"x\":\"\(String(repeating: "x", count: 5 << 20))\"}\n"
        try machine.tree.write(call + long, to: machine.transcript())
        _ = try look(&follower, machine, at: 0, session: id)
        // The call is further back than is looked.
        try machine.tree.write(call + long + result, to: machine.transcript())
        _ = try look(&follower, machine, at: 1, session: id)
        #expect(follower.wakeUps.loopAt == nil)
        let half = String(result.prefix(40))
        try machine.tree.write(call + long + result + call + half, to: machine.transcript())
        _ = try look(&follower, machine, at: 2, session: id)
        #expect(follower.wakeUps.loopAt == nil)
        try machine.tree.write(call + long + result + call + result, to: machine.transcript())
        _ = try look(&follower, machine, at: 3, session: id)
        #expect(follower.wakeUps.loopAt == 5000)
        // Another file begins anew.
        try machine.tree.write("{}\n", to: machine.transcript())
        _ = try look(&follower, machine, at: 4, session: id)
        #expect(follower.wakeUps.loopAt == nil)
    }

    @Test("the folder of a project is its path with dashes")
    func slug() {
        #expect(TranscriptFollower.slug("/srv/my_app.v2") == "-srv-my-app-v2")
        #expect(TranscriptFollower.slug("/ü/😀") == "-----")
    }
}
