import Glibc

/// What a clock on the wall shows, against UTC.
struct LocalZone: Sendable {
    /// Seconds east of UTC at a time, in seconds since 1970.
    let offset: @Sendable (Int64) -> Int64

    /// The machine's own time zone.
    static let machine = LocalZone { seconds in
        var time = time_t(seconds)
        var parts = tm()
        guard localtime_r(&time, &parts) != nil else { return 0 }
        return Int64(parts.tm_gmtoff)
    }

    static let utc = LocalZone { _ in 0 }
}

/// Times in the five fields of cron, as Claude Code reads them: numbers, `*`, ranges, steps and lists; no names.
/// Sunday is 0 or 7. With both a day of the month and a day of the week, either will do.
struct CronExpression: Equatable, Sendable {
    /// Bytes of an expression.
    static let limitBytes = 256
    /// How far ahead a time is looked for.
    static let horizonSeconds: Int64 = 366 * 86_400
    /// Times that are looked at on the way there.
    private static let stepLimit = 4096

    private var minutes: Field
    private var hours: Field
    private var daysOfMonth: Field
    private var months: Field
    private var daysOfWeek: Field

    /// The values of one field, a bit each.
    private struct Field: Equatable, Sendable {
        var bits: UInt64 = 0
        func contains(_ value: Int) -> Bool { bits >> UInt64(value) & 1 == 1 }
        mutating func insert(_ value: Int) { bits |= 1 << UInt64(value) }
    }

    /// Nil for what Claude Code would refuse.
    init?(_ text: String) {
        guard text.utf8.count <= Self.limitBytes else { return nil }
        let fields = text.split(whereSeparator: \.isWhitespace)
        guard fields.count == 5, let minutes = Self.field(fields[0], 0...59),
            let hours = Self.field(fields[1], 0...23),
            let daysOfMonth = Self.field(fields[2], 1...31), let months = Self.field(fields[3], 1...12),
            let daysOfWeek = Self.field(fields[4], 0...6)
        else { return nil }
        self.minutes = minutes
        self.hours = hours
        self.daysOfMonth = daysOfMonth
        self.months = months
        self.daysOfWeek = daysOfWeek
    }

    private static func field(_ text: Substring, _ range: ClosedRange<Int>) -> Field? {
        let isWeek = range == 0...6
        var field = Field()
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let halves = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let span = halves.first, let step = halves.count == 2 ? number(halves[1]) : 1, step >= 1
            else { return nil }
            var values: ClosedRange<Int>
            if span == "*" {
                values = range
            } else if let dash = span.firstIndex(of: "-") {
                guard let low = number(span[..<dash]), let high = number(span[span.index(after: dash)...]),
                    low <= high, low >= range.lowerBound, high <= (isWeek ? 7 : range.upperBound)
                else { return nil }
                values = low...high
            } else {
                // A single number takes no step.
                guard halves.count == 1, let value = number(span),
                    range.contains(isWeek && value == 7 ? 0 : value)
                else { return nil }
                values = value...value
            }
            for value in stride(from: values.lowerBound, through: values.upperBound, by: step) {
                field.insert(isWeek && value == 7 ? 0 : value)
            }
        }
        return field
    }

    private static func number(_ text: Substring) -> Int? {
        guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int(text)
    }

    /// The first time after `seconds` since 1970 at which a clock in `zone` shows one of the times.
    ///
    /// A time that the clock leaps over in spring is missed; one that it shows twice in autumn counts the first time.
    ///
    /// - Returns: seconds since 1970; nil if there is none within the horizon.
    func next(after seconds: Int64, in zone: LocalZone) -> Int64? {
        let floor = (seconds >= 0 ? seconds / 60 : (seconds - 59) / 60) * 60
        var time = floor + 60
        let last = time + Self.horizonSeconds
        for _ in 0..<Self.stepLimit where time <= last {
            let offset = zone.offset(time)
            let local = time + offset
            if isRepeat(time, local: local, zone) {
                time += 60
                continue
            }
            let day = local >= 0 ? local / 86_400 : (local - 86_399) / 86_400
            let date = CivilDate(daysSinceEpoch: day)
            let minuteOfDay = Int((local - day * 86_400) / 60)
            var target: Int64
            if !months.contains(date.month) {
                target =
                    CivilDate.days(
                        year: date.month == 12 ? date.year + 1 : date.year, month: date.month % 12 + 1, day: 1
                    ) * 86_400
            } else if !matchesDay(date, day) {
                target = (day + 1) * 86_400
            } else if !hours.contains(minuteOfDay / 60) {
                target = local - local % 3600 + 3600
            } else if !minutes.contains(minuteOfDay % 60) {
                target = local + 60
            } else {
                return time
            }
            if target <= local { target = local + 60 }
            time = max(Self.instant(ofLocal: target, near: time + target - local, zone), time + 60)
        }
        return nil
    }

    private func matchesDay(_ date: CivilDate, _ day: Int64) -> Bool {
        // 1970-01-01 was a Thursday.
        let weekday = Int(((day + 4) % 7 + 7) % 7)
        let anyDay = daysOfMonth.bits == 0xffff_fffe
        let anyWeekday = daysOfWeek.bits == 0x7f
        if anyDay { return anyWeekday || daysOfWeek.contains(weekday) }
        if anyWeekday { return daysOfMonth.contains(date.day) }
        return daysOfMonth.contains(date.day) || daysOfWeek.contains(weekday)
    }

    /// Whether the clock has shown the same time before, having been put back less than three hours ago.
    private func isRepeat(_ time: Int64, local: Int64, _ zone: LocalZone) -> Bool {
        let before = zone.offset(time - 3 * 3600)
        guard before > local - time else { return false }
        return zone.offset(local - before) == before
    }

    /// The first time at which the clock shows `local`; where it leaps over it, the time right after the leap or later.
    private static func instant(ofLocal local: Int64, near guess: Int64, _ zone: LocalZone) -> Int64 {
        let early = local - zone.offset(guess - 3 * 3600)
        if early + zone.offset(early) == local { return early }
        let late = local - zone.offset(guess + 3 * 3600)
        if late + zone.offset(late) == local { return late }
        return max(early, late) - max(0, early - late)
    }
}

/// A day of the Gregorian calendar.
struct CivilDate: Equatable {
    var year: Int64
    var month: Int
    var day: Int

    /// Days are counted from 1970-01-01; years begin in March within, so that the leap day comes last.
    init(daysSinceEpoch: Int64) {
        let shifted = daysSinceEpoch + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        day = Int(dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
        month = Int(shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9)
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days from 1970-01-01.
    static func days(year: Int64, month: Int, day: Int) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = Int64((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1)
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}

/// A time as the wall clock counts it.
enum WallTime {
    /// The year 9999: later times are no times.
    static let limit: Int64 = 253_402_300_799_000

    /// Milliseconds since 1970, now.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Milliseconds since 1970 of `2026-11-23T12:32:06.164Z`; nil for another shape.
    static func milliseconds(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        guard (20...24).contains(bytes.count), bytes.last == UInt8(ascii: "Z"), bytes[4] == UInt8(ascii: "-"),
            bytes[7] == UInt8(ascii: "-"), bytes[10] == UInt8(ascii: "T"), bytes[13] == UInt8(ascii: ":"),
            bytes[16] == UInt8(ascii: ":")
        else { return nil }
        func number(_ range: Range<Int>) -> Int64? {
            var value: Int64 = 0
            for byte in bytes[range] {
                guard (0x30...0x39).contains(byte) else { return nil }
                value = value * 10 + Int64(byte - 0x30)
            }
            return value
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            let hour = number(11..<13),
            let minute = number(14..<16), let second = number(17..<19), (1...12).contains(month),
            (1...31).contains(day),
            hour < 24, minute < 60, second <= 60
        else { return nil }
        var fraction: Int64 = 0
        if bytes.count > 20 {
            guard bytes[19] == UInt8(ascii: "."), let digits = number(20..<bytes.count - 1) else {
                return nil
            }
            fraction = digits * [1000, 100, 10, 1][bytes.count - 21]
        }
        let days = CivilDate.days(year: year, month: Int(month), day: Int(day))
        return (days * 86_400 + hour * 3600 + minute * 60 + second) * 1000 + fraction
    }
}
