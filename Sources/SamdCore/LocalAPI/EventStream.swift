import FoundationEssentials
import HummingbirdCore
import NIOCore

/// Events in the form of server-sent events.
enum EventStream {
    /// How often a comment is sent while nothing happens.
    static let keepAlive: Duration = .seconds(15)

    /// What is written: an event, or a sign of life.
    private enum Item: Sendable { case event(DaemonEvent), keepAlive }

    /// Writes until the events end, the task is cancelled, or the reader is gone (the write throws).
    static func write(_ events: AsyncStream<DaemonEvent>, to writer: inout any ResponseBodyWriter)
        async throws
    {
        let (items, continuation) = AsyncStream.makeStream(
            of: Item.self, bufferingPolicy: .bufferingNewest(EventLog.capacity + 8))
        let pump = Task {
            for await event in events { continuation.yield(.event(event)) }
            continuation.finish()
        }
        let clock = Task {
            while (try? await Task.sleep(for: keepAlive, clock: .suspending)) != nil {
                continuation.yield(.keepAlive)
            }
        }
        defer {
            pump.cancel()
            clock.cancel()
        }
        for await item in items {
            switch item {
            case .event(let event): try await writer.write(ByteBuffer(string: frame(event)))
            case .keepAlive: try await writer.write(ByteBuffer(string: ":\n\n"))
            }
        }
    }

    /// One event as lines: id, type and a JSON object.
    static func frame(_ event: DaemonEvent) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let json = (try? encoder.encode(event)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
        return "id: \(event.id)\nevent: \(event.type)\ndata: \(json)\n\n"
    }
}
