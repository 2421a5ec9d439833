import FoundationEssentials
import Logging
import Testing

@testable import SamdCore

@Suite struct EventLogTests {
    @Test func `message ids are 32 hexadecimal digits and all different`() {
        let ids = EventKind.allCases.map(\.messageID)
        #expect(Set(ids).count == ids.count)
        #expect(ids.allSatisfy { $0.count == 32 && $0.allSatisfy(\.isHexDigit) })
    }

    @Test func `a follower gets the kept events after an id and then the new ones`() async throws {
        let log = quietLog()
        log.record(.portPublished, "one")
        log.record(.portPublished, "two")
        let first = try #require(log.events(after: 0).first)
        let stream = try #require(log.follow(after: first.id))
        log.record(.portWithdrawn, "three")
        log.close()
        var messages: [String] = []
        for await event in stream { messages.append(event.message) }
        #expect(messages == ["two", "three"])
    }

    @Test func `the log keeps a bounded number of events and serves a bounded number of followers`() throws {
        let log = quietLog()
        for number in 0..<(EventLog.capacity + 10) { log.record(.portPublished, "\(number)") }
        let kept = log.events(after: 0)
        #expect(kept.count == EventLog.capacity && kept.first?.message == "10")
        let followers = (0..<EventLog.maximumFollowers).map { _ in log.follow(after: nil) }
        #expect(followers.allSatisfy { $0 != nil })
        #expect(log.follow(after: nil) == nil)
        // A follower that is released gives its place back, which an optimised build does right after its last use.
        withExtendedLifetime(followers) {}
    }

    @Test func `ids grow across restarts`() throws {
        let clock = Date.now
        let before = EventLog(logger: Logger(label: "t"), now: { clock })
        for _ in 0..<100 { before.record(.portPublished, level: .trace, "") }
        let after = EventLog(logger: Logger(label: "t"), now: { clock.addingTimeInterval(1) })
        after.record(.portPublished, level: .trace, "")
        let last = try #require(before.events(after: 0).last)
        let first = try #require(after.events(after: 0).first)
        #expect(last.id < first.id)
    }

    @Test func `an event is one frame of a server-sent event stream`() {
        let event = DaemonEvent(
            id: 7, time: "t", type: "port.published", message: "a\nb", data: ["port": "3000"])
        #expect(
            EventStream.frame(event)
                == "id: 7\nevent: port.published\ndata: {\"data\":{\"port\":\"3000\"},\"id\":7,\"message\":\"a\\nb\",\"time\":\"t\",\"type\":\"port.published\"}\n\n"
        )
    }

    @Test func `times are RFC 3339 in UTC with milliseconds`() {
        #expect(Timestamp.text(Date(timeIntervalSince1970: 0.5)) == "1970-01-01T00:00:00.500Z")
    }
}
