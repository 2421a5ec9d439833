import FoundationEssentials
import Glibc
import IdleDetector
import Testing

@testable import SamdCore
@testable import TestSupport

@Suite struct IdleRecordingTests {
    private let folder: TemporaryTree
    private var path: String { "\(folder.root)/idle-trace.jsonl" }

    init() throws { folder = try TemporaryTree() }

    private func read(_ path: String) throws -> String {
        String(decoding: try BoundedFile.read(path, limit: 8 << 20), as: UTF8.self)
    }

    private func parse(_ text: String) throws -> IdleRecording {
        try IdleRecording.parse(Array(text.utf8), file: "r.jsonl")
    }

    /// A morning: Claude works, asks, and nobody answers.
    private func recordMorning(limit: Int = IdleTrace.fileLimit) async -> IdleFixture {
        let fixture = IdleFixture(trace: IdleTrace(path: path, limit: limit))
        await fixture.state.begin()
        await fixture.see(claude(.claudeBusy, since: morning, changedAt: morning))
        await fixture.stay(20, claude(.claudeBusy, since: morning, changedAt: morning + minutes(9)))
        let asks = claude(.claudeAsking, since: fixture.now, detail: "permission prompt")
        await fixture.stay(190, asks)
        await fixture.state.stop()
        return fixture
    }

    @Test func `a recording replays to the verdicts that were made, and to others with other settings`()
        async throws
    {
        let fixture = await recordMorning()
        let recording = try parse(try read(path))
        #expect(recording.segments.count == 1)
        #expect(recording.segments[0].snapshots.count == 3, "only what changed is recorded")
        let header = recording.segments[0].header
        #expect(header.vm == "vm1" && header.settings["threshold"] == "30m")
        #expect(header.clock.bootMilliseconds == 0 && header.time == "1970-01-01T10:00:00.000Z")
        var replay = IdleReplay(isUTC: true)
        let outcome = try #require(try replay.run(recording))
        let states = outcome.timeline.map { "\($0.time.dropFirst(11).prefix(5)) \($0.state)" }
        #expect(states == ["10:00 active", "10:21 waiting"])
        #expect(outcome.report.state == "waiting", "the recording ends with its last change")
        #expect(await fixture.state.report().state == "idle")
        var shorter = IdleReplay(
            changing: [
                ("threshold", "15m"), ("idle.waiting_threshold", "15m"), ("silent_cap", "5m"),
                ("busy_cap", "10m"),
            ],
            isUTC: true)
        let other = try #require(try shorter.run(recording))
        #expect(other.report.settings["busy_cap"] == "10m")
        #expect(other.timeline.map(\.state) == ["active", "alarm", "waiting"])
        #expect(other.timeline[1].explanation.hasPrefix("silent-busy: Claude works"))
    }

    @Test func `what the daemon says now ends a recording, so that a replay goes up to it`() async throws {
        let fixture = await recordMorning()
        let end = await fixture.state.recordingEnd()
        let text = try read(path) + String(decoding: end.bytes, as: UTF8.self)
        var replay = IdleReplay(isUTC: true)
        let outcome = try #require(try replay.run(try parse(text)))
        let states = outcome.timeline.map { "\($0.time.dropFirst(11).prefix(5)) \($0.state)" }
        #expect(states == ["10:00 active", "10:21 waiting", "13:21 idle"])
        #expect(outcome.report.explanation == (await fixture.state.report()).explanation)
        #expect(try outcome.json().contains("\"timeline\":[{"))
    }

    @Test func `recorded machines still get their verdicts`() throws {
        let recordings = "\(#filePath.dropLast("SamdCoreTests/IdleRecordingTests.swift".count))Recordings"
        let names = try #require(try? FileManager.default.contentsOfDirectory(atPath: recordings))
        let found = names.filter { $0.hasSuffix(".jsonl") }.sorted()
        #expect(!found.isEmpty)
        for name in found {
            let file = "\(recordings)/\(name)"
            let bytes = try BoundedFile.read(file, limit: IdleRecording.maximumBytes)
            var replay = IdleReplay(isUTC: true)
            let outcome = try #require(try replay.run(try IdleRecording.parse(bytes, file: name)))
            let lines = outcome.timeline.map { "\($0.time) \($0.state): \($0.explanation)\n" }
            let golden = "\(file.dropLast(".jsonl".count)).txt"
            #expect(lines.joined() + "\(outcome.report.explanation)\n" == (try read(golden)), "\(name)")
        }
    }

    @Test func `a damaged line is named, and a newer or another format says what to do`() async throws {
        _ = await recordMorning()
        let lines = try read(path).split(separator: "\n").map(String.init)
        func problem(_ lines: [String]) -> String {
            do {
                _ = try parse(lines.joined(separator: "\n"))
                return "none"
            } catch {
                return "\(error)"
            }
        }
        #expect(problem(lines) == "none")
        #expect(problem(lines + ["", ""]) == "none", "signs of life are empty lines")
        #expect(
            problem([lines[0], lines[1], String(lines[2].dropLast(9))]).hasPrefix("r.jsonl:3: is not a line"))
        #expect(problem([lines[0], "{}"]).hasPrefix("r.jsonl:2: is not a line that samd wrote"))
        #expect(
            problem([lines[0], lines[2], lines[1]]).hasPrefix("r.jsonl:3: is from before the line above"))
        #expect(problem([lines[1]]).hasPrefix("r.jsonl:1: comes before the line that begins"))
        #expect(
            problem([lines[0]])
                == "r.jsonl: holds no evidence; record it with samd idle record while samd runs")
        let newer = lines[0].replacing("\"version\":1", with: "\"version\":2")
        #expect(
            problem([newer, lines[1]])
                == "r.jsonl:1: is of version 2, this samd reads up to version 1; replay it with a newer samd")
        let other = lines[0].replacing("samd-idle-recording", with: "x")
        #expect(problem([other]).contains("begins something else than a recording: x"))
        #expect(problem([lines[0].replacing("\"memory\"", with: "\"m\"")]).contains("not the beginning"))
    }

    @Test func `settings that no samd of today has are named when a recording is replayed`() async throws {
        _ = await recordMorning()
        let text = try read(path).replacing("\"busy_cap\"", with: "\"buzy_cap\"")
        var replay = IdleReplay()
        #expect {
            _ = try replay.run(try parse(text))
        } throws: {
            "\($0)".hasPrefix("the recording: idle.buzy_cap: is no setting")
        }
    }

    @Test func `evidence is recorded when it changed, at most once a second, and the newest always`() {
        var recorder = IdleRecorder()
        func offer(_ milliseconds: Int64, _ signals: [Evidence]) -> Bool? {
            let now = morning + .milliseconds(milliseconds)
            let probe = ProbeReport(name: "claude", lastLook: now)
            let snapshot = ActivitySnapshot(at: now, signals: signals, probes: [probe])
            return recorder.offer(snapshot, now: now)?.isFirst
        }
        let busy = claude(.claudeBusy, since: morning)
        #expect(offer(0, [busy]) == true)
        #expect(offer(5000, [busy]) == nil && recorder.nextAt == nil, "a look at the same is no change")
        #expect(offer(6000, []) == false)
        #expect(offer(6100, [busy]) == nil && recorder.nextAt == morning + .seconds(7))
        #expect(offer(7000, [busy]) == false && recorder.nextAt == nil)
        #expect(offer(9000, []) == false)
        recorder.beginAnew()
        #expect(offer(9001, []) == true)
    }

    @Test func `progress that goes on is recorded twice a minute, and at once after a pause`() {
        var recorder = IdleRecorder()
        var taken: [Int64] = []
        func offer(_ seconds: Int64) {
            let now = morning + .seconds(seconds)
            let snapshot = ActivitySnapshot(at: now, signals: [typing(at: now)])
            if recorder.offer(snapshot, now: now) != nil { taken.append(seconds) }
        }
        for second in 0...70 { offer(Int64(second)) }
        #expect(taken == [0, 30, 60])
        #expect(recorder.nextAt == morning + .seconds(90), "the newest is not lost")
        offer(200)
        offer(230)
        offer(231)
        #expect(taken == [0, 30, 60, 200, 230])
    }

    @Test func `what comes and goes without counting is recorded twice a minute, what counts at once`() {
        var recorder = IdleRecorder()
        var taken: [Int64] = []
        func offer(_ seconds: Int64, changedAt: Moment?) {
            let now = morning + .seconds(seconds)
            let job = Evidence(
                id: "job:\(seconds)", kind: .job, subject: "sh", since: now, changedAt: changedAt)
            if recorder.offer(ActivitySnapshot(at: now, signals: [job]), now: now) != nil {
                taken.append(seconds)
            }
        }
        for second in 0...40 { offer(Int64(second), changedAt: nil) }
        #expect(taken == [0, 30])
        offer(41, changedAt: morning + .seconds(41))
        #expect(taken == [0, 30, 41])
    }

    @Test func `the trace is for root alone, bounded, and each of its files replays by itself`() async throws
    {
        let limit = 16 << 10
        let fixture = IdleFixture(trace: IdleTrace(path: path, limit: limit))
        for _ in 0..<200 {
            await fixture.advance(.seconds(60))
            await fixture.see(typing(at: fixture.now))
            // The disk of a test may be slower than a clock that is turned by hand.
            _ = await fixture.state.trace?.follow(news: false)
        }
        await fixture.state.stop()
        #expect(fixture.state.trace?.dropped == 0)
        for file in [path, "\(path).1"] {
            var facts = stat()
            try #require(stat(file, &facts) == 0)
            #expect(facts.st_mode & 0o777 == 0o600 && facts.st_size <= limit)
            #expect(try parse(try read(file)).segments.count == 1)
        }
        let whole = try parse(try read("\(path).1") + read(path))
        let last = try #require(whole.segments.last?.snapshots.last)
        #expect(last.at == fixture.now)
    }

    @Test func `a disk that takes nothing costs lines, which are counted, and nothing else`() async throws {
        let trace = IdleTrace(path: "\(folder.root)/none/trace.jsonl")
        let fixture = IdleFixture(trace: trace)
        await fixture.see(typing(at: morning))
        _ = await trace.follow(news: false)
        #expect(trace.dropped == 1)
        #expect(await fixture.state.metrics().droppedLines == 1)
        mkdir("\(folder.root)/none", 0o700)
        await fixture.advance(.seconds(2))
        await fixture.see()
        trace.close()
        #expect(try parse(try read("\(folder.root)/none/trace.jsonl")).segments.count == 1)
        #expect(trace.dropped == 1)
    }

    @Test func `followers get what comes, a bounded number of them, and end with the trace`() async throws {
        let trace = IdleTrace(path: path)
        let fixture = IdleFixture(trace: trace)
        await fixture.see(typing(at: morning))
        let following = try #require(await trace.follow(news: true))
        var others: [IdleTrace.Following] = []
        for _ in 1..<IdleTrace.followerLimit { others.append(try #require(await trace.follow(news: true))) }
        #expect(await trace.follow(news: true) == nil)
        await fixture.advance(.seconds(2))
        await fixture.see()
        _ = await trace.follow(news: false)
        trace.close()
        let past = following.past.flatMap { $0.next() ?? [] }
        #expect(try parse(String(decoding: past, as: UTF8.self)).segments[0].snapshots.count == 1)
        var news: [Moment] = []
        for await line in try #require(following.news) { news.append(line.at) }
        #expect(news == [fixture.now])
        withExtendedLifetime(others) {}
    }
}
