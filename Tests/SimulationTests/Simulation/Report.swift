/// A tally for people, and for programs.
package struct Report {
    private let tally: Tally

    package init(_ tally: Tally) { self.tally = tally }

    private var deciders: [(name: String, losses: Losses)] {
        [("samd", tally.ours), ("naive script", tally.naive), ("its file rule", tally.naiveFiles)]
    }

    // MARK: For people

    package var text: String {
        var lines = [
            "\(tally.machines) machines, \(tally.days) machine-days, \(tally.evaluations) evaluations,"
                + " \(tally.violationCount) violations",
            "",
            row("", deciders.map(\.name)),
            row("deleted", deciders.map { "\($0.losses.endings)" }),
            row("wasted hours a machine-day", deciders.map { fixed($0.losses.wastedHours / daysOrOne, 2) }),
            row("work destroyed", deciders.map { "\($0.losses.destroyedCount)" }),
            row("hours of work lost", deciders.map { fixed($0.losses.lostHours, 1) }),
            row("work missed while deleted", deciders.map { "\($0.losses.missed.values.reduce(0, +))" }),
        ]
        lines +=
            ["", "wasted hours by cause"]
            + causes { $0.wasted }.map { cause in
                row("  \(cause)", deciders.map { fixed($0.losses.wasted[cause] ?? 0, 1) })
            }
        lines +=
            ["", "work destroyed by cause (samd: silent beyond its cap)"]
            + causes { $0.destroyedHours }.map { cause in
                row(
                    "  \(cause)",
                    deciders.map {
                        "\($0.losses.destroyed[cause] ?? 0) (\(fixed($0.losses.destroyedHours[cause] ?? 0, 1)) h)"
                    })
            }
        lines +=
            tally.ours.examples.isEmpty
            ? []
            : ["", "an example of each that samd cut off"]
                + tally.ours.examples.sorted { $0.key < $1.key }.map { "  \($0.key): \($0.value)" }
        lines += [
            "",
            "in use \(fixed(tally.usefulHours, 0)) h of \(tally.days * 24) h; a probe blind \(fixed(tally.blindHours, 1)) h,"
                + " of which nothing else kept an unused machine \(fixed(tally.heldBlindHours, 1)) h",
            "humans cut off who went on like a program: \(tally.humansCutOff)",
            "alarms: "
                + tally.alarms.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(
                    separator: ", "),
        ]
        for violation in tally.violations {
            lines +=
                [
                    "",
                    "VIOLATION machine \(violation.seed) (--days \(violation.days)) at \(violation.at.clockText):"
                        + " \(violation.rule.rawValue)",
                    "  \(violation.text)",
                ] + violation.evidence.map { "    \($0)" }
        }
        return lines.joined(separator: "\n")
    }

    private var daysOrOne: Double { Double(max(1, tally.days)) }

    private func causes(_ values: (Losses) -> [String: Double]) -> [String] {
        var sums: [String: Double] = [:]
        for (_, losses) in deciders { sums.merge(values(losses), uniquingKeysWith: +) }
        return sums.keys.sorted { (sums[$0] ?? 0, $1) > (sums[$1] ?? 0, $0) }
    }

    private func row(_ title: String, _ cells: [String]) -> String {
        let cells = cells.map { String(repeating: " ", count: max(1, 18 - $0.count)) + $0 }
        return title + String(repeating: " ", count: max(1, 32 - title.count)) + cells.joined()
    }

    /// A number of at least 0.
    private func fixed(_ number: Double, _ digits: Int) -> String {
        let scale = digits == 0 ? 1 : digits == 1 ? 10 : 100
        let scaled = Int((number * Double(scale)).rounded())
        if digits == 0 { return "\(scaled)" }
        return "\(scaled / scale)." + String("\(scale + scaled % scale)".dropFirst())
    }

    // MARK: For programs

    package var json: String {
        let losses = deciders.map { name, losses in
            """
            "\(name)": {"endings": \(losses.endings), "wasted_hours": \(fixed(losses.wastedHours, 2)), \
            "destroyed": \(losses.destroyedCount), "lost_hours": \(fixed(losses.lostHours, 2)), \
            "wasted_by_cause": {\(object(losses.wasted) { fixed($0, 2) })}, \
            "destroyed_by_cause": {\(object(losses.destroyed) { "\($0)" })}, \
            "missed_by_cause": {\(object(losses.missed) { "\($0)" })}}
            """
        }
        let violations = tally.violations.map {
            "{\"machine\": \($0.seed), \"days\": \($0.days), \"at_ms\": \($0.at), \"rule\": \"\($0.rule)\"}"
        }
        return """
            {"machines": \(tally.machines), "machine_days": \(tally.days), "evaluations": \(tally.evaluations), \
            "violations": \(tally.violationCount), "useful_hours": \(fixed(tally.usefulHours, 1)), \
            "blind_hours": \(fixed(tally.blindHours, 1)), "held_blind_hours": \(fixed(tally.heldBlindHours, 1)), \
            "humans_cut_off": \(tally.humansCutOff), "alarms": {\(object(tally.alarms) { "\($0)" })}, \
            "deciders": {\(losses.joined(separator: ", "))}, \
            "first_violations": [\(violations.joined(separator: ", "))]}
            """
    }

    /// Keys are words of this module: nothing in them needs an escape.
    private func object<Value>(_ values: [String: Value], _ text: (Value) -> String) -> String {
        values.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \(text($0.value))" }.joined(separator: ", ")
    }
}
