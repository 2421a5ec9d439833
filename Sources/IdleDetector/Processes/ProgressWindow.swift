/// How much counts as progress.
package struct ProgressFloor: Sendable, Equatable {
    /// CPU time per time, in thousandths of one core.
    package var cpuPerMille: UInt64 = 30
    /// Bytes read and written in a minute.
    package var ioBytesPerMinute: UInt64 = 4 << 20
    /// The shortest time that is measured over: less in it than the floor allows is no progress, however dense.
    package var window: Duration = .seconds(60)
    /// Clock ticks in a second (CLK_TCK).
    package var ticksPerSecond: UInt64 = 100

    package init() {}

    /// The clock ticks in a time that are progress; at a million ticks a second and years of time this stays below
    /// 2^64.
    func neededTicks(in time: Duration) -> UInt64 {
        max(1, cpuPerMille * UInt64(max(0, time.wholeMilliseconds)) / 1000 * ticksPerSecond / 1000)
    }

    /// The bytes in a time that are progress.
    func neededBytes(in time: Duration) -> UInt64 {
        max(1, UInt64(max(0, time.wholeMilliseconds)) / 1000 * ioBytesPerMinute / 60)
    }
}

/// Tells of one counter when it last made progress: pure.
///
/// It keeps a few checkpoints of the sum spent so far. Progress is made when since any of them as much was spent as is
/// needed in that time, or in a whole window if the time is shorter. After a pause of the daemon only checkpoints from
/// before it are there, so that what was spent meanwhile counts by its average over the pause.
struct ProgressWindow: Sendable, Equatable {
    /// Checkpoints that are kept, evenly over a window.
    static let checkpointLimit = 6

    private struct Checkpoint: Equatable {
        var at: Moment
        var sum: UInt64
    }

    /// When progress was last made; nil: not since it is watched.
    private(set) var lastProgress: Moment?
    private var checkpoints: [Checkpoint]
    private var sum: UInt64 = 0

    /// Begins to watch; what was spent before does not count.
    init(at start: Moment) { checkpoints = [Checkpoint(at: start, sum: 0)] }

    /// Adds what was spent since the last call.
    mutating func add(_ amount: UInt64, at now: Moment, window: Duration, needed: (Duration) -> UInt64) {
        sum &+= amount
        if amount > 0, checkpoints.contains(where: { sum &- $0.sum >= needed(max(window, now - $0.at)) }) {
            lastProgress = now
            // What has counted does not count again.
            checkpoints = [Checkpoint(at: now, sum: sum)]
            return
        }
        // One checkpoint at least as old as the window is needed, none older than that.
        while checkpoints.count > 1, now - checkpoints[1].at >= window { checkpoints.removeFirst() }
        let spacing = Duration.milliseconds(window.wholeMilliseconds / Int64(Self.checkpointLimit - 1))
        if let latest = checkpoints.last, now - latest.at >= spacing {
            if checkpoints.count == Self.checkpointLimit { checkpoints.removeFirst() }
            checkpoints.append(Checkpoint(at: now, sum: sum))
        }
    }
}
