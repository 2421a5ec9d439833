// Feeds bytes to what reads the transcripts of Claude: the end of a turn, planned turns, times of cron. Beyond not
// trapping it must keep these promises:
//   - what stands before a line that says how the turn goes changes nothing;
//   - jobs are bounded, and each comes later than now, but for the grace of a late one;
//   - an expression's next time is later, within the horizon, the same from a second before it, and what a clock shows.

enum Promise {
    private static let zone = LocalZone { $0 / 7_776_000 % 2 == 0 ? 3600 : 7200 }
    private static let now: Int64 = 1_795_437_126_164

    static func check(_ bytes: [UInt8]) {
        transcript(bytes)
        cron(String(decoding: bytes, as: UTF8.self))
    }

    private static func transcript(_ bytes: [UInt8]) {
        let turn = TranscriptTail.turn(bytes, isWhole: true)
        if turn != .unknown {
            let longer = Array("{\"type\":\"user\",\"message\":{\"content\":\"x\"}}\n".utf8) + bytes
            precondition(TranscriptTail.turn(longer, isWhole: true) == turn)
        }
        var wakeUps = ScheduledWakeUps()
        var start = 0
        while start < bytes.count {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
            wakeUps.take(bytes, in: start..<end)
            start = end + 1
        }
        precondition(wakeUps.jobs.count <= ScheduledWakeUps.jobLimit)
        if let next = wakeUps.next(now: now, in: zone) {
            precondition(next.at + ScheduledWakeUps.Job.lateLimit >= now)
            precondition(next.count <= ScheduledWakeUps.jobLimit + 1)
        }
    }

    private static func cron(_ text: String) {
        for line in text.split(separator: "\n").prefix(8) {
            guard let expression = CronExpression(String(line)) else { continue }
            for after in [0, -86_400, 1_795_437_126, 1_719_791_940, 253_402_300_799] as [Int64] {
                guard let next = expression.next(after: after, in: zone) else { continue }
                precondition(next > after && next <= after + CronExpression.horizonSeconds + 60)
                precondition(next % 60 == 0)
                precondition(expression.next(after: next - 1, in: zone) == next)
            }
        }
    }
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafeRawPointer?, _ count: Int) -> CInt {
    Promise.check(Array(UnsafeRawBufferPointer(start: start, count: count)))
    return 0
}
