import FoundationEssentials
import IdleDetector

/// `GET /v1/idle` as a terminal shows it: what is below the explanation. Pure.
package enum IdleTable {
    package static let header = ["SIGNAL", "WHAT", "SINCE", "LAST CHANGE", "COUNTS"]

    /// One row per signal; times are lengths up to the report's own.
    package static func rows(_ report: IdleReport) -> [[String]] {
        report.signals.map { signal in
            let detail = signal.detail.map { ": \($0)" } ?? ""
            return [
                signal.kind, shortened(signal.subject + detail), age(signal.since, report),
                signal.changedAt.map { age($0, report) } ?? "-", counts(signal),
            ]
        }
    }

    /// Alarms and probes that cannot look, a line each.
    package static func notes(_ report: IdleReport) -> [String] {
        report.alarms.map { "ALARM \($0.kind), for \(age($0.since, report)): \($0.text)" }
            + report.probes.compactMap { probe in
                guard let since = probe.failingSince else { return nil }
                let reason = probe.reason ?? "it does not say why"
                return "BLIND for \(age(since, report)): the probe \(probe.name) cannot look: \(reason)"
            }
    }

    private static func counts(_ signal: IdleReport.Evidence) -> String {
        switch signal.counts {
        case "holds": signal.why.hasPrefix("it ") ? String(signal.why.dropFirst(3)) : signal.why
        case "touched": "yes: \(signal.why)"
        default: "no: \(signal.why)"
        }
    }

    /// The longest text of a cell that others follow.
    private static let widest = 60

    private static func shortened(_ text: String) -> String {
        text.count > widest ? text.prefix(widest - 1) + "…" : text
    }

    private static func age(_ time: String, _ report: IdleReport) -> String {
        guard let then = Timestamp.date(time), let now = Timestamp.date(report.at) else { return "?" }
        return DurationWords.text(.milliseconds(Int64(now.timeIntervalSince(then) * 1000)))
    }
}
