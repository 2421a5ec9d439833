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
