import IdleDetector

/// Runs the policy over a recording, as the daemon would have, with the settings of then or with others. Pure.
package struct IdleReplay: Sendable {
    /// The state, or an alarm, at one instant.
    package struct Step: Codable, Sendable, Equatable {
        /// RFC 3339.
        package var time: String
        /// `active`, `waiting`, `idle`, or `alarm`.
        package var state: String
        package var explanation: String
        package var deadline: String?
    }

    /// What came out.
    package struct Outcome: Codable, Sendable, Equatable {
        package var timeline: [Step]
        /// The verdict at the end of the recording, as `GET /v1/idle` would tell it.
        package var report: IdleReport

        /// As `samd idle replay --json` prints it.
        package func json() throws -> String {
            String(decoding: IdleRecording.line(self).dropLast(), as: UTF8.self)
        }
    }

    /// Verdicts between two lines; a recording that asks for more is not one of a machine.
    static let reviewLimit = 100_000
    /// Steps that are kept, the newest.
    static let stepLimit = 10_000

    private let changes: [(name: String, value: String)]
    private let isUTC: Bool
    private var timeline: [Step] = []
    private var state: IdleVerdict.State?
    private var alarms: Set<String> = []

    /// - Parameter changes: settings that replace the recorded ones.
    package init(changing changes: [(name: String, value: String)] = [], isUTC: Bool = false) {
        self.changes = changes
        self.isUTC = isUTC
    }

    /// Replays a recording.
    ///
    /// - Throws: `ConfigurationError` when the settings cannot be used.
    package mutating func run(_ recording: IdleRecording) throws(ConfigurationError) -> Outcome? {
        var report: IdleReport?
        for (index, segment) in recording.segments.enumerated() {
            let next = index + 1 < recording.segments.count ? recording.segments[index + 1].header : nil
            let isSameBoot = next?.bootID == segment.header.bootID
            if let last = try run(segment, until: isSameBoot ? next?.at : nil) { report = last }
        }
        return report.map { Outcome(timeline: timeline, report: $0) }
    }

    /// - Parameter end: up to when nothing but the time changed after the last line.
    private mutating func run(
        _ segment: IdleRecording.Segment, until end: Moment?
    ) throws(ConfigurationError) -> IdleReport? {
        let header = segment.header
        let recorded = try IdleSettingTexts.apply(
            header.settings.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) },
            to: IdleSettings(), file: "the recording")
        let settings = try IdleSettingTexts.apply(changes, to: recorded, file: "--set")
        var policy = IdlePolicy(settings: settings, memory: header.memory, startedAt: header.at)
        var clock = header.clock
        clock.isUTC = isUTC
        var last: (verdict: IdleVerdict, snapshot: ActivitySnapshot)?
        for snapshot in segment.snapshots {
            if let before = last {
                last = review(before, until: snapshot.at, with: &policy, clock)
            }
            let verdict = policy.evaluate(snapshot, at: snapshot.at)
            note(verdict, snapshot, clock)
            last = (verdict, snapshot)
        }
        guard var last else { return nil }
        if let end { last = review(last, until: end, with: &policy, clock) }
        return IdleReport(
            last.verdict, last.snapshot, settings: IdleSettingTexts.texts(of: settings),
            now: last.verdict.at, clock: clock)
    }

    /// What the policy says between two lines, where nothing changed but the time.
    private mutating func review(
        _ from: (verdict: IdleVerdict, snapshot: ActivitySnapshot), until end: Moment,
        with policy: inout IdlePolicy, _ clock: WallClock
    ) -> (verdict: IdleVerdict, snapshot: ActivitySnapshot) {
        var last = from
        for _ in 0..<Self.reviewLimit {
            guard let next = last.verdict.reviewAt, next > last.verdict.at, next < end else { break }
            last.verdict = policy.evaluate(last.snapshot, at: next)
            note(last.verdict, last.snapshot, clock)
        }
        return last
    }

    private mutating func note(_ verdict: IdleVerdict, _ snapshot: ActivitySnapshot, _ clock: WallClock) {
        if verdict.state != state {
            state = verdict.state
            let text = IdleExplanation(verdict, snapshot, now: verdict.at, clock: clock).text
            add(
                Step(
                    time: clock.timestamp(verdict.at), state: verdict.state.rawValue, explanation: text,
                    deadline: verdict.deadline.map { clock.timestamp($0) }))
        }
        let standing = Set(verdict.alarms.map { "\($0.kind.rawValue) \($0.id)" })
        for alarm in verdict.alarms where !alarms.contains("\(alarm.kind.rawValue) \(alarm.id)") {
            add(
                Step(
                    time: clock.timestamp(verdict.at), state: "alarm",
                    explanation: "\(alarm.kind.rawValue): \(alarm.text)"))
        }
        alarms = standing
    }

    private mutating func add(_ step: Step) {
        timeline.append(step)
        if timeline.count > Self.stepLimit { timeline.removeFirst(Self.stepLimit / 10) }
    }
}
