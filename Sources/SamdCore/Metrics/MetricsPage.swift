/// One metric with its samples, as Prometheus knows it.
package struct MetricFamily: Sendable, Equatable {
    /// What the value does over time.
    package enum Kind: String, Sendable { case counter, gauge }

    /// One value; labels are written in the order of their names.
    package struct Sample: Sendable, Equatable {
        package var labels: [String: String]
        package var value: Double

        package init(_ value: Double, _ labels: [String: String] = [:]) {
            self.value = value
            self.labels = labels
        }
    }

    /// `samd_…`, with the unit in plural, `_total` for counters.
    package var name: String
    package var help: String
    package var kind: Kind
    package var samples: [Sample]

    package init(_ name: String, _ kind: Kind, _ help: String, _ samples: [Sample]) {
        self.name = name
        self.kind = kind
        self.help = help
        self.samples = samples
    }
}

/// The text form of metrics: Prometheus exposition format 0.0.4. Pure.
package enum MetricsPage {
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// Families without samples are left out.
    package static func text(_ families: [MetricFamily]) -> String {
        var page = ""
        for family in families where !family.samples.isEmpty {
            page += "# HELP \(family.name) \(escaped(family.help, quotes: false))\n"
            page += "# TYPE \(family.name) \(family.kind.rawValue)\n"
            for sample in family.samples {
                page += "\(family.name)\(labels(sample.labels)) \(number(sample.value))\n"
            }
        }
        return page
    }

    private static func labels(_ labels: [String: String]) -> String {
        if labels.isEmpty { return "" }
        let pairs = labels.sorted { $0.key < $1.key }.map {
            "\($0.key)=\"\(escaped($0.value, quotes: true))\""
        }
        return "{\(pairs.joined(separator: ","))}"
    }

    /// Whole numbers without a point: counters up to 2^53 are exact.
    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return value == value.rounded() && abs(value) < 9_007_199_254_740_992 ? "\(Int64(value))" : "\(value)"
    }

    private static func escaped(_ text: String, quotes: Bool) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\"" where quotes: result += "\\\""
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}
