import Glibc
package import Logging

/// A swift-log handler for a daemon that runs in a terminal: `LEVEL message (key=value …)` on standard error.
package struct ConsoleLogHandler: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?

    /// Creates a handler that writes entries of at least `level`.
    package init(level: Logger.Level) { self.logLevel = level }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
        let pairs = all.filter { $0.key != "message_id" }.sorted { $0.key < $1.key }
            .map { "\($0.key)=\($0.value)" }
        let suffix = pairs.isEmpty ? "" : " (\(pairs.joined(separator: " ")))"
        let line = "\(event.level.rawValue.uppercased()) \(event.message)\(suffix)\n"
        // One write(2) per entry, so that entries of several threads do not mix.
        _ = Array(line.utf8).withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
