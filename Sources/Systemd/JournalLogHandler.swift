import CSystemd
import Glibc
package import Logging

/// A swift-log handler that writes structured entries to the systemd journal (sd_journal_sendv(3)).
///
/// Metadata keys become journal fields: `port` is written as `SAMD_PORT`, `message_id` as `MESSAGE_ID`. An entry is at most
/// `maximumFields` fields of `maximumFieldBytes` each; what is longer is cut, what is more is left out.
package struct JournalLogHandler: LogHandler {
    /// The most fields one entry carries.
    package static let maximumFields = 32
    /// The longest value of one field, in bytes.
    package static let maximumFieldBytes = 8192

    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    private let identifier: String
    private let send: @Sendable ([String]) -> Void

    /// Creates a handler.
    ///
    /// - Parameters:
    ///   - identifier: the value of SYSLOG_IDENTIFIER.
    ///   - level: the least severe level that is written.
    ///   - send: where `FIELD=value` entries go; the journal unless a test listens.
    package init(
        identifier: String, level: Logger.Level,
        send: @escaping @Sendable ([String]) -> Void = Self.sendToJournal
    ) {
        self.identifier = identifier
        self.logLevel = level
        self.send = send
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var fields = [
            "MESSAGE=\(Self.cut(event.message.description))",
            "PRIORITY=\(Self.priority(event.level))",
            "SYSLOG_IDENTIFIER=\(identifier)",
        ]
        if event.level >= .warning || event.level <= .debug {
            fields.append("CODE_FILE=\(event.file)")
            fields.append("CODE_LINE=\(event.line)")
        }
        let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
        for (key, value) in all.sorted(by: { $0.key < $1.key }).prefix(Self.maximumFields - fields.count) {
            fields.append("\(Self.fieldName(key))=\(Self.cut(value.description))")
        }
        send(fields)
    }

    /// syslog(3) severity.
    static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    /// Journal field names are upper-case ASCII letters, digits and underscores (systemd.journal-fields(7)).
    static func fieldName(_ key: String) -> String {
        let upper = key.uppercased().unicodeScalars.map { scalar -> Character in
            ("A"..."Z").contains(scalar) || ("0"..."9").contains(scalar) ? Character(scalar) : "_"
        }
        let name = String(upper.prefix(56))
        return name == "MESSAGE_ID" ? name : "SAMD_\(name)"
    }

    private static func cut(_ value: String) -> String {
        guard value.utf8.count > maximumFieldBytes else { return value }
        return String(decoding: value.utf8.prefix(maximumFieldBytes), as: UTF8.self) + "…"
    }

    /// Hands one entry to journald; an entry that cannot be delivered is dropped, as syslog does.
    package static func sendToJournal(_ fields: [String]) {
        let copies = fields.compactMap { strdup($0) }
        defer { for copy in copies { free(copy) } }
        let vectors = copies.map { iovec(iov_base: $0, iov_len: strlen($0)) }
        _ = sd_journal_sendv(vectors, Int32(vectors.count))
    }

    /// Whether this process's standard error goes to the journal, so that entries belong there too (systemd.exec(5), JOURNAL_STREAM).
    package static var isUnderJournal: Bool {
        guard let stream = getenv("JOURNAL_STREAM") else { return false }
        var status = stat()
        guard fstat(STDERR_FILENO, &status) == 0 else { return false }
        return String(cString: stream) == "\(status.st_dev):\(status.st_ino)"
    }
}
