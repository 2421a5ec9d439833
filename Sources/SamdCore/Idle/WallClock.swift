package import FoundationEssentials
import Glibc
package import IdleDetector

/// The wall clock beside CLOCK_MONOTONIC, at one instant: gives moments the times that people read.
package struct WallClock: Sendable, Equatable {
    /// Milliseconds from 1970 to the boot, by what the wall clock says now.
    package var bootMilliseconds: Int64
    /// Whether times of day are UTC's instead of the machine's zone's.
    package var isUTC: Bool

    package init(bootMilliseconds: Int64, isUTC: Bool = false) {
        self.bootMilliseconds = bootMilliseconds
        self.isUTC = isUTC
    }

    /// Both clocks of the machine, now.
    package static func now() -> WallClock {
        let wall = Int64(Date.now.timeIntervalSince1970 * 1000)
        return WallClock(bootMilliseconds: wall - Moment.now().milliseconds)
    }

    /// Seconds since 1970.
    package func seconds(_ moment: Moment) -> Double {
        Double(bootMilliseconds &+ moment.milliseconds) / 1000
    }

    /// RFC 3339 in UTC.
    package func timestamp(_ moment: Moment) -> String {
        Timestamp.text(Date(timeIntervalSince1970: seconds(moment)))
    }

    /// `14:20`, or with the date when that is another day than `now`'s.
    package func timeOfDay(_ moment: Moment, now: Moment) -> String {
        let (time, today) = (fields(moment), fields(now))
        let clock = "\(Self.twoDigits(time.tm_hour)):\(Self.twoDigits(time.tm_min))"
        if time.tm_year == today.tm_year, time.tm_yday == today.tm_yday { return clock }
        return
            "\(1900 + Int(time.tm_year))-\(Self.twoDigits(time.tm_mon + 1))-\(Self.twoDigits(time.tm_mday)) \(clock)"
    }

    private func fields(_ moment: Moment) -> tm {
        var seconds = time_t(seconds(moment).rounded(.down))
        var fields = tm()
        if isUTC { gmtime_r(&seconds, &fields) } else { localtime_r(&seconds, &fields) }
        return fields
    }

    private static func twoDigits(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
}

extension Timestamp {
    /// Reads what `text` writes.
    package static func date(_ text: String) -> Date? {
        try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }
}
