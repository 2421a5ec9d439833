import FoundationEssentials

/// The body of `POST /v1/holds`.
package struct HoldRequest: Sendable, Equatable {
    package static let reasonLimitBytes = 200

    /// For people; cleaned.
    package var reason: String
    /// For how long at the most; nil: up to the cap.
    package var duration: Duration?
    /// Whether it ends with the process that asks.
    package var whileProcess: Bool

    package init(reason: String = "", duration: Duration? = nil, whileProcess: Bool = false) {
        self.reason = PlainText.cleaned(reason)
        self.duration = duration
        self.whileProcess = whileProcess
    }

    /// Reads a JSON object with `reason`, `seconds` and `whileProcess`; one of the latter two has to be there.
    package init(parsing body: [UInt8]) throws(ProblemDetails) {
        do {
            self = try JSONDecoder().decode(HoldRequest.self, from: Data(body))
        } catch let problem as ProblemDetails {
            throw problem
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
            DecodingError.dataCorrupted(let context), DecodingError.keyNotFound(_, let context)
        {
            let key = context.codingPath.last?.stringValue
            throw Self.problem(key.map { "\"\($0.prefix(40))\" has a wrong value" } ?? "it is no JSON object")
        } catch {
            throw Self.problem("it is no JSON object")
        }
        if duration == nil, !whileProcess {
            throw Self.problem("it says neither how long the machine is to be kept nor for which process")
        }
    }

    fileprivate static func problem(_ detail: String) -> ProblemDetails {
        ProblemDetails(
            "bad-request", status: 400, title: "Not a hold", detail: "the body was refused: \(detail)",
            hint: "{\"reason\": \"why\", \"seconds\": 7200} or {\"reason\": \"why\", \"whileProcess\": true}")
    }
}

extension HoldRequest: Codable {
    private struct Key: CodingKey {
        let stringValue: String
        let intValue: Int? = nil
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    /// Ten years, as for every duration of samd.
    private static let longestSeconds: Int64 = 3_650 * 86_400

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        var (reason, seconds, whileProcess) = ("", Int64?.none, false)
        for key in container.allKeys {
            switch key.stringValue {
            case "reason": reason = try container.decodeIfPresent(String.self, forKey: key) ?? ""
            case "seconds": seconds = try container.decodeIfPresent(Int64.self, forKey: key)
            case "whileProcess":
                whileProcess = try container.decodeIfPresent(Bool.self, forKey: key) ?? false
            default: throw Self.problem("\"\(key.stringValue.prefix(40))\" is no field of it")
            }
        }
        if let seconds, !(1...Self.longestSeconds).contains(seconds) {
            throw Self.problem("\"seconds\" has a wrong value")
        }
        self.init(reason: reason, duration: seconds.map { .seconds($0) }, whileProcess: whileProcess)
        guard self.reason.utf8.count <= Self.reasonLimitBytes else {
            throw Self.problem("\"reason\" is longer than \(Self.reasonLimitBytes) bytes")
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        if !reason.isEmpty { try container.encode(reason, forKey: Key(stringValue: "reason")) }
        if let duration {
            try container.encode(duration.components.seconds, forKey: Key(stringValue: "seconds"))
        }
        if whileProcess { try container.encode(true, forKey: Key(stringValue: "whileProcess")) }
    }
}

/// Text of other processes as it may stand on one line of a terminal or a journal.
package enum PlainText {
    /// Line breaks and control characters become blanks, what changes the direction or hides goes; trimmed.
    package static func cleaned(_ text: String) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator: scalars.append(" ")
            // The joiner holds emoji together.
            case .format where scalar.value != 0x200D: break
            default: scalars.append(scalar)
            }
        }
        let trimmed = scalars.drop { $0 == " " }
        let end = trimmed.lastIndex { $0 != " " }.map { trimmed.index(after: $0) } ?? trimmed.startIndex
        return String(trimmed[..<end])
    }

    /// The same, cut to `limitBytes` at a character's end.
    package static func cleaned(_ text: String, limitBytes: Int) -> String {
        // Cleaning never makes text longer; what is far beyond the limit is not even looked at.
        var result = cleaned(String(decoding: text.utf8.prefix(4 * limitBytes), as: UTF8.self))
        while result.utf8.count > limitBytes { result.removeLast() }
        return result
    }
}
