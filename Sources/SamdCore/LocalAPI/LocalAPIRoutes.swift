import FoundationEssentials
import Glibc
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
package import Supervision

/// What a request knows beside itself: who sent it.
struct LocalAPIContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    private let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    var maxUploadSize: Int { 64 * 1024 }

    /// The process at the other end, read when it is asked for.
    func peer() async -> Peer? {
        guard let provider = channel as? any SocketOptionProvider else { return nil }
        let credentials: EventLoopFuture<ucred> = provider.unsafeGetSocketOption(
            level: .socket, name: .init(rawValue: SO_PEERCRED))
        let process: EventLoopFuture<Int32> = provider.unsafeGetSocketOption(
            level: .socket, name: .init(rawValue: Self.peerProcess))
        guard let descriptor = try? await process.get(), descriptor >= 0 else {
            return try? await Peer(credentials.get())
        }
        defer { close(descriptor) }
        return try? await Peer(credentials.get(), process: descriptor)
    }

    /// SO_PEERPIDFD of Linux 6.5, which older headers lack; older kernels answer ENOPROTOOPT.
    private static let peerProcess: CInt = 77
}

/// The paths of the local API and what answers them.
package struct LocalAPIRoutes: Sendable {
    private let state: DaemonState
    private let log: EventLog
    private let about: DaemonFacts
    private let monitors: [ServiceMonitor]
    private let authorization: @Sendable () async -> PeerAuthorization
    private let metrics: @Sendable () async -> [MetricFamily]
    /// Nil where idle detection is turned off.
    private let idle: IdleState?
    private let holds: HoldRoutes
    private let testNotification: @Sendable () async throws(ProblemDetails) -> NotifyTestReport

    package init(
        state: DaemonState, log: EventLog, about: DaemonFacts, monitors: [ServiceMonitor], holds: HoldRoutes,
        testNotification: @escaping @Sendable () async throws(ProblemDetails) -> NotifyTestReport,
        authorization: @escaping @Sendable () async -> PeerAuthorization,
        metrics: @escaping @Sendable () async -> [MetricFamily] = { [] }, idle: IdleState? = nil
    ) {
        self.state = state
        self.idle = idle
        self.log = log
        self.about = about
        self.monitors = monitors
        self.holds = holds
        self.testNotification = testNotification
        self.authorization = authorization
        self.metrics = metrics
    }

    func router() -> Router<LocalAPIContext> {
        let router = Router(context: LocalAPIContext.self)
        router.add(middleware: ProblemMiddleware())
        router.get("/v1/status") { _, _ in try Self.answer(await status()) }
        router.get("/v1/ports") { _, _ in
            await state.firstScan(within: Self.firstScanPatience)
            return try Self.answer(await state.portList())
        }
        router.get("/v1/events") { request, _ in try events(request) }
        router.put("/v1/ports/{name}") { request, context in
            let peer = try await mayChange(context)
            return try await change(request, context, peer: peer)
        }
        router.get("/v1/password") { _, context in
            _ = try await mayChange(context)
            return try Self.answer(await state.password())
        }
        router.post("/v1/password") { _, context in
            _ = try await mayChange(context)
            return try Self.answer(try await state.renewPassword())
        }
        router.get("/v1/idle") { _, _ in
            try Self.answer(await idle?.report() ?? IdleReport.off(at: Timestamp.text(.now)))
        }
        router.get("/v1/idle/recording") { request, context in
            _ = try await mayChange(context)
            return try await IdleRecordingStream.response(to: request, from: idle)
        }
        router.get("/v1/holds") { _, _ in try Self.answer(await holds.keeper.list()) }
        router.post("/v1/holds") { request, context in
            let peer = try await permitted(.hold, context)
            let taken = try await holds.take(try await bytes(of: request), peer: peer)
            return try Self.answer(taken, status: .created)
        }
        router.delete("/v1/holds/{id}") { _, context in
            let peer = try await permitted(.hold, context)
            let mayReleaseAny = await authorization().refusal(of: peer, right: .change) == nil
            let id = try context.parameters.require("id")
            return try Self.answer(try await holds.release(id, peer: peer, mayReleaseAny: mayReleaseAny))
        }
        router.post("/v1/notify/test") { _, context in
            _ = try await permitted(.change, context)
            return try Self.answer(try await testNotification())
        }
        router.get("/metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: MetricsPage.contentType],
                body: ResponseBody(byteBuffer: ByteBuffer(string: MetricsPage.text(await metrics()))))
        }
        return router
    }

    /// The peer, if it may change things.
    private func mayChange(_ context: LocalAPIContext) async throws -> Peer? {
        try await permitted(.change, context)
    }

    /// The peer, if it has a right.
    private func permitted(
        _ right: PeerAuthorization.Right, _ context: LocalAPIContext
    ) async throws -> Peer? {
        let peer = await context.peer()
        if let refusal = await authorization().refusal(of: peer, right: right) { throw refusal }
        return peer
    }

    private func change(_ request: Request, _ context: LocalAPIContext, peer: Peer?) async throws -> Response
    {
        let name = try context.parameters.require("name")
        let change = try PortChange(parsing: try await bytes(of: request))
        await state.firstScan(within: Self.firstScanPatience)
        let isByRoot = peer?.uid == 0 && peer?.isOnHost == true
        return try Self.answer(try await state.change(name, to: change, isByRoot: isByRoot))
    }

    private func bytes(of request: Request) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await part in request.body {
            bytes += part.readableBytesView
            guard bytes.count <= Self.longestChange else {
                throw ProblemDetails(
                    "too-large", status: 413, title: "Too large",
                    detail: "the body is longer than \(Self.longestChange) bytes",
                    hint: "see docs/api.yaml for what it may hold")
            }
        }
        return bytes
    }

    /// Of a body, in bytes; a real one has a hundred.
    private static let longestChange = 4096

    /// How long a request waits for the first scan, which takes some 10 ms.
    private static let firstScanPatience: Duration = .seconds(3)

    private func status() async -> StatusReport {
        await state.firstScan(within: Self.firstScanPatience)
        let services = monitors.map { StatusReport.Service($0.snapshot()) }
        let isDegraded = services.contains { $0.health == "degraded" }
        return StatusReport(
            version: SamdVersion.current,
            state: await state.isStarting() ? "starting" : isDegraded ? "degraded" : "ready", pid: about.pid,
            startedAt: about.startedAt, bootID: about.bootID, vm: await state.vm(),
            wakeUp: await state.wakeUpReport(),
            services: services, ports: await state.counts(),
            idle: await idle?.summary() ?? IdleSummary(state: "off", summary: "off"))
    }

    /// Server-sent events (WHATWG HTML §9.2). A comment every 15 s shows that the connection lives and finds out when it does not.
    private func events(_ request: Request) throws -> Response {
        let since = try resumePoint(request)
        guard let events = log.follow(after: since) else {
            throw ProblemDetails(
                "too-many-followers", status: 503, title: "Too many followers",
                detail: "\(EventLog.maximumFollowers) clients follow the events already",
                hint: "end one of them")
        }
        let body = ResponseBody { writer in
            try await writer.write(ByteBuffer(string: ": samd \(SamdVersion.current)\n\n"))
            try await EventStream.write(events, to: &writer)
            try await writer.finish(nil)
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"], body: body)
    }

    private func resumePoint(_ request: Request) throws -> UInt64? {
        let lastEventID = HTTPField.Name("Last-Event-ID").flatMap { request.headers[$0] }
        guard let text = lastEventID ?? request.uri.queryParameters["since"].map(String.init) else {
            return nil
        }
        guard let id = UInt64(text) else {
            throw ProblemDetails(
                "bad-request", status: 400, title: "Not an event id",
                detail: "\"\(text.prefix(40))\" is no event id",
                hint: "give the id of the last event you saw, or 0 for all that are kept")
        }
        return id
    }

    static func answer(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: try encoder.encode(value))))
    }

    static func answer(_ problem: ProblemDetails) -> Response {
        let body = (try? JSONEncoder().encode(problem)) ?? Data()
        return Response(
            status: HTTPResponse.Status(code: problem.status),
            headers: [.contentType: "application/problem+json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
    }
}

/// Turns every error, the router's own included, into problem+json.
private struct ProblemMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: LocalAPIContext,
        next: (Request, LocalAPIContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as HTTPError {
            return LocalAPIRoutes.answer(Self.problem(error.status, request))
        }
    }

    private static func problem(_ status: HTTPResponse.Status, _ request: Request) -> ProblemDetails {
        switch status {
        case .notFound:
            ProblemDetails(
                "not-found", status: 404, title: "No such resource",
                detail: "\(request.method) \(request.uri.path.prefix(200)) is not part of this API",
                hint:
                    "GET /v1/status, /v1/ports, /v1/idle, /v1/idle/recording, /v1/events, /v1/password, /v1/holds, /metrics; PUT /v1/ports/{name}; POST /v1/password, /v1/holds, /v1/notify/test; DELETE /v1/holds/{id}"
            )
        default:
            ProblemDetails(
                "bad-request", status: status.code, title: status.reasonPhrase,
                detail: "\(request.method) \(request.uri.path.prefix(200)) was not understood")
        }
    }
}

extension StatusReport.Service {
    init(_ report: ServiceReport) {
        let age = report.sinceProgress
        let seconds =
            Double(age.components.seconds) + Double(age.components.attoseconds / 1_000_000_000_000_000) / 1000
        self.init(name: report.name, health: "", detail: "", hint: nil, sinceProgressSeconds: seconds)
        switch report.health {
        case .starting: (health, detail) = ("starting", "first round under way")
        case .ok(let text): (health, detail) = ("ok", text)
        case .degraded(let reason, let advice): (health, detail, hint) = ("degraded", reason, advice)
        }
    }
}
