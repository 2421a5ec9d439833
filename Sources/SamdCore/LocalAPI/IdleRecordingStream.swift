import HTTPTypes
import Hummingbird
import HummingbirdCore
import IdleDetector
import NIOCore

/// `GET /v1/idle/recording`: what the flight recorder holds, where the policy stands now, and what comes after that.
enum IdleRecordingStream {
    /// How often an empty line is sent while nothing changes.
    static let keepAlive: Duration = .seconds(15)
    static let mediaType = "application/jsonl"

    static func response(to request: Request, from idle: IdleState?) async throws -> Response {
        let follows = try follows(request)
        guard let idle, let trace = idle.trace else {
            throw ProblemDetails(
                "idle-off", status: 409, title: "Idle detection is turned off", detail: "nothing is recorded",
                hint: "set idle.enabled = true in the configuration and restart samd")
        }
        guard let following = await trace.follow(news: follows) else {
            throw ProblemDetails(
                "too-many-followers", status: 503, title: "Too many followers",
                detail: "\(IdleTrace.followerLimit) clients follow the recording already",
                hint: "end one of them")
        }
        let body = ResponseBody { writer in
            for file in following.past {
                while let bytes = file.next() { try await writer.write(ByteBuffer(bytes: bytes)) }
            }
            let end = await idle.recordingEnd()
            try await writer.write(ByteBuffer(bytes: end.bytes))
            if let news = following.news { try await write(news, after: end.at, to: &writer) }
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: mediaType, .cacheControl: "no-store"], body: body)
    }

    /// What is written: evidence, or a sign of life.
    private enum Item: Sendable { case news(IdleTrace.News), keepAlive }

    /// Writes until the daemon ends, the task is cancelled, or the reader is gone (the write throws).
    private static func write(
        _ news: AsyncStream<IdleTrace.News>, after end: Moment, to writer: inout any ResponseBodyWriter
    ) async throws {
        let (items, continuation) = AsyncStream.makeStream(
            of: Item.self, bufferingPolicy: .bufferingNewest(IdleTrace.followerBuffer))
        let pump = Task {
            for await line in news { continuation.yield(.news(line)) }
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
            // What came while the past was written is in its end.
            case .news(let line) where line.at <= end: break
            case .news(let line): try await writer.write(ByteBuffer(bytes: line.bytes))
            case .keepAlive: try await writer.write(ByteBuffer(string: "\n"))
            }
        }
    }

    private static func follows(_ request: Request) throws -> Bool {
        switch request.uri.queryParameters["follow"].map(String.init) {
        case nil, "false": return false
        case "true": return true
        case .some(let text):
            throw ProblemDetails(
                "bad-request", status: 400, title: "Not true or false",
                detail: "follow=\(text.prefix(40)) is neither", hint: "write follow=true or follow=false")
        }
    }
}
