/// What a Claude session says about itself in `sessions/<pid>.json`. Its texts are the session's, cut and cleaned.
struct SessionRecord: Equatable, Sendable {
    /// Bytes of each text that are kept.
    static let textLimitBytes = 256
    /// Bytes of the folder that are kept.
    static let pathLimitBytes = 4096

    /// What the session does.
    enum Status: Equatable, Sendable {
        case busy, shell, waiting, idle
        /// A word that is not known here; cut and cleaned.
        case other(String)

        init(_ word: String) {
            self =
                switch word {
                case "busy": .busy
                case "shell": .shell
                case "waiting": .waiting
                case "idle": .idle
                default: .other(word)
                }
        }
    }

    var pid: Int64?
    var sessionID: String?
    var folder: String?
    /// Field 22 of `/proc/PID/stat`.
    var startTime: UInt64?
    /// The inode of the pid namespace in which `pid` counts.
    var processNamespace: UInt64?
    /// Nil when the session does not say: hosts of the SDK.
    var status: Status?
    /// What its user is asked for.
    var waitingFor: String?
    /// Milliseconds since 1970; stands still through long turns, and so tells nothing about them.
    var statusUpdatedAt: Int64?
    var version: String?
    var kind: String?

    init() {}

    /// Reads the text of a session's file. Members of unexpected kinds count as missing.
    init(parsing text: [UInt8]) throws(MalformedJSON) {
        var reader = JSONReader(text)
        guard try reader.peek() == UInt8(ascii: "{") else { throw MalformedJSON() }
        var record = SessionRecord()
        try reader.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
            switch name {
            case "pid": record.pid = try value.integer()
            case "sessionId": record.sessionID = try Self.text(&value)
            case "cwd": record.folder = try value.string(limitBytes: Self.pathLimitBytes)
            case "procStart":
                // A string; a number would do.
                if try value.peek() == UInt8(ascii: "\"") {
                    record.startTime = try value.string(limitBytes: 32).flatMap { UInt64($0) }
                } else {
                    record.startTime = try value.integer().flatMap { UInt64(exactly: $0) }
                }
            case "pidDomain":
                record.processNamespace = try value.string(limitBytes: Self.textLimitBytes).flatMap(
                    Self.namespace)
            case "status": record.status = try Self.text(&value).map { Status($0) }
            case "waitingFor": record.waitingFor = try Self.text(&value)
            case "statusUpdatedAt": record.statusUpdatedAt = try value.integer()
            case "version": record.version = try Self.text(&value)
            case "kind": record.kind = try Self.text(&value)
            default: break
            }
        }
        // Rewritten in place: what follows the end belongs to an older, longer text.
        guard reader.isAtEnd() else { throw MalformedJSON() }
        self = record
    }

    /// The inode in `linux:<machine id>:pid:[4026531836]`.
    private static func namespace(_ domain: String) -> UInt64? {
        guard domain.hasSuffix("]"), let open = domain.lastIndex(of: "["), domain[..<open].hasSuffix("pid:")
        else { return nil }
        return UInt64(domain[domain.index(after: open)...].dropLast())
    }

    private static func text(_ value: inout JSONReader) throws(MalformedJSON) -> String? {
        try value.string(limitBytes: textLimitBytes).map(clean)
    }

    /// Without line breaks and other control characters, bidirectional ones among them: it is shown on terminals.
    static func clean(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? "?" : $0 }))
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }
}
