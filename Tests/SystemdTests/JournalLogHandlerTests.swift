import Logging
import Synchronization
import Testing

@testable import Systemd

@Suite struct JournalLogHandlerTests {
    private final class Entries: Sendable {
        let all = Mutex<[[String]]>([])
    }

    private func logger(_ entries: Entries) -> Logger {
        Logger(label: "test") { _ in
            JournalLogHandler(identifier: "samd", level: .info) { fields in
                entries.all.withLock { $0.append(fields) }
            }
        }
    }

    @Test func `metadata becomes journal fields and MESSAGE_ID keeps its own name`() {
        let entries = Entries()
        logger(entries).notice(
            "port 3000 is published",
            metadata: ["message_id": "0123456789abcdef0123456789abcdef", "port": "3000", "host name": "a.b"])
        #expect(
            entries.all.withLock { $0 } == [
                [
                    "MESSAGE=port 3000 is published", "PRIORITY=5", "SYSLOG_IDENTIFIER=samd",
                    "SAMD_HOST_NAME=a.b", "MESSAGE_ID=0123456789abcdef0123456789abcdef", "SAMD_PORT=3000",
                ]
            ])
    }

    @Test func `an entry below the level is not written`() {
        let entries = Entries()
        logger(entries).debug("nobody sees this")
        #expect(entries.all.withLock { $0.isEmpty })
    }

    @Test func `a value longer than the bound is cut and an entry has a bounded number of fields`() throws {
        let entries = Entries()
        let many = Dictionary(
            uniqueKeysWithValues: (0..<100).map { ("key\($0)", Logger.MetadataValue.string("v")) })
        logger(entries).info("\(String(repeating: "x", count: 20_000))", metadata: many)
        let entry = try #require(entries.all.withLock { $0.first })
        #expect(entry.count == JournalLogHandler.maximumFields)
        #expect(entry[0].utf8.count < JournalLogHandler.maximumFieldBytes + 20)
    }

    @Test(arguments: [
        (Logger.Level.debug, 7), (.info, 6), (.notice, 5), (.warning, 4), (.error, 3), (.critical, 2),
    ])
    func `levels map to syslog severities`(level: Logger.Level, priority: Int) {
        #expect(JournalLogHandler.priority(level) == priority)
    }
}
