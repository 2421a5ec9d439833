import Glibc

/// What a session has planned to do by itself, as its transcript records it: jobs made with CronCreate and one
/// wake-up made with ScheduleWakeup. Times are milliseconds since 1970.
///
/// Jobs live in the session's memory and end with it. Those that are kept in a file of the project (`durable`) are
/// read from there (`ScheduledTasksFile`), and passed over here. A note (`session_cron_carry`) follows a compaction,
/// and the Escape with which a user ends a loop.
struct ScheduledWakeUps: Equatable, Sendable {
    /// Jobs of one session; Claude Code itself allows 50.
    static let jobLimit = 128
    /// Calls whose results have not been seen.
    private static let callLimit = 64

    /// A job of cron.
    struct Job: Equatable, Sendable {
        /// A job that repeats ends by itself after so long, if it says nothing else, and at the latest.
        static let maxAge: Int64 = 7 * 86_400_000
        static let maxAgeCap: Int64 = 30 * 86_400_000
        /// A job that is so late does not come any more: it was replaced, or its session's program knows better.
        static let lateLimit: Int64 = 10 * 60_000

        var id: String
        var cron: String
        var createdAt: Int64
        var isRecurring: Bool
        var lastFiredAt: Int64?
        var maxAge: Int64?
        /// The first time, as the program itself said it.
        var announced: Int64?

        /// When a job that repeats has run long enough; it fires once more after that.
        var expiresAt: Int64 {
            maxAge == WallTime.limit ? WallTime.limit : createdAt + min(maxAge ?? Self.maxAge, Self.maxAgeCap)
        }

        /// When it fires next, or was to fire while its session was busy; nil: never.
        func next(now: Int64, in zone: LocalZone) -> Int64? {
            guard isRecurring else {
                let time = announced ?? fire(after: createdAt, in: zone)
                return time.flatMap { $0 + Self.lateLimit < now ? nil : $0 }
            }
            let first = lastFiredAt == nil ? announced : nil
            guard let planned = first ?? fire(after: lastFiredAt ?? createdAt, in: zone) else { return nil }
            if planned + Self.lateLimit >= now { return planned }
            return expiresAt <= now ? nil : fire(after: now, in: zone)
        }

        /// With the delay that the program gives each repeated job by its id: up to half its period, at most half an
        /// hour.
        private func fire(after time: Int64, in zone: LocalZone) -> Int64? {
            guard let expression = CronExpression(cron),
                let first = expression.next(after: time / 1000, in: zone)
            else { return nil }
            guard isRecurring, let second = expression.next(after: first, in: zone) else {
                return first * 1000
            }
            let share = Double(UInt32(id.prefix(8), radix: 16) ?? 0) / 4_294_967_296
            return first * 1000 + Int64(min(share * 0.5 * Double((second - first) * 1000), 1_800_000))
        }
    }

    /// A call whose result is to come.
    private enum Call: Equatable, Sendable {
        case create(cron: String, at: Int64)
        case delete(id: String)
        case wakeUp
    }

    private(set) var jobs: [String: Job] = [:]
    /// The next turn of a loop that paces itself.
    private(set) var loopAt: Int64?
    private var calls: [String: Call] = [:]

    init() {}

    /// The next time that the session goes on by itself, and how many are planned.
    func next(now: Int64, in zone: LocalZone) -> (at: Int64, count: Int)? {
        var times = jobs.values.compactMap { $0.next(now: now, in: zone) }
        if let loopAt, loopAt + Job.lateLimit >= now { times.append(loopAt) }
        return times.min().map { ($0, times.count) }
    }

    /// Takes one line of the transcript; others than those about planned work change nothing.
    mutating func take(_ text: [UInt8], in range: Range<Int>) {
        // Most lines are long, and none of these.
        guard Self.mayMatter(text, in: range), let line = try? WakeUpLine(text, in: range) else { return }
        guard !line.isSidechain else { return }
        for call in line.calls { take(call, at: line.time) }
        if let id = line.resultOf, let call = calls.removeValue(forKey: id) {
            take(line.result, of: call, at: line.time)
        }
        if let fired = line.fired { fire(fired, isLoop: line.isLoop, at: line.time) }
        for job in line.carried where jobs.count < Self.jobLimit && jobs[job.id] == nil { jobs[job.id] = job }
        for id in line.ended { jobs[id] = nil }
        if line.isNote { loopAt = line.carriedLoop }
    }

    private mutating func take(_ call: WakeUpLine.Call, at time: Int64) {
        if calls.count >= Self.callLimit { calls.removeAll() }
        switch call.name {
        case "CronCreate": calls[call.id] = .create(cron: call.cron ?? "", at: time)
        case "CronDelete": calls[call.id] = .delete(id: call.job ?? "")
        case "ScheduleWakeup": calls[call.id] = .wakeUp
        default: break
        }
    }

    private mutating func take(_ result: WakeUpLine.Result, of call: Call, at time: Int64) {
        // A failed call has a text for its result.
        guard result.isObject else { return }
        switch call {
        case .wakeUp: loopAt = result.scheduledFor.flatMap { $0 > 0 ? $0 : nil }
        case .delete(let id):
            jobs[id] = nil
            if result.endedLoop { loopAt = nil }
        case .create(let cron, let createdAt):
            guard let id = result.id, result.isDurable != true, jobs.count < Self.jobLimit else { return }
            jobs[id] = Job(
                id: id, cron: cron, createdAt: createdAt, isRecurring: result.isRecurring ?? true,
                maxAge: result.maxAge, announced: result.nextFireAt)
        }
    }

    private mutating func fire(_ id: String, isLoop: Bool, at time: Int64) {
        if isLoop {
            if let planned = loopAt, planned <= time + 60_000 { loopAt = nil }
            return
        }
        guard var job = jobs[id] else { return }
        job.lastFiredAt = time
        jobs[id] = job.isRecurring && time < job.expiresAt ? job : nil
    }

    /// Words of which one is in every line that matters.
    private static let words: [StaticString] = [
        "\"CronCreate\"", "\"CronDelete\"", "\"ScheduleWakeup\"", "\"toolUseResult\":{",
        "\"scheduled_task_fire\"",
        "\"session_cron_carry\"",
    ]

    private static func mayMatter(_ text: [UInt8], in range: Range<Int>) -> Bool {
        text.withUnsafeBytes { bytes in
            words.contains { word in
                guard let start = bytes.baseAddress else { return false }
                return memmem(start + range.lowerBound, range.count, word.utf8Start, word.utf8CodeUnitCount)
                    != nil
            }
        }
    }
}
