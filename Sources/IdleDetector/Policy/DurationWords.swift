/// Lengths of time as people say them.
package enum DurationWords {
    /// Two units at most: `4 s`, `12 min`, `2 h 5 min`, `3 d 4 h`. Rounded down; negative ones are `0 s`.
    package static func text(_ duration: Duration) -> String {
        let seconds = max(0, duration.components.seconds)
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400)
        if seconds < 60 { return "\(seconds) s" }
        if minutes < 60 {
            return seconds % 60 == 0 || minutes >= 10 ? "\(minutes) min" : "\(minutes) min \(seconds % 60) s"
        }
        if hours < 24 { return minutes % 60 == 0 ? "\(hours) h" : "\(hours) h \(minutes % 60) min" }
        return hours % 24 == 0 ? "\(days) d" : "\(days) d \(hours % 24) h"
    }
}
