import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import NIOPosix
package import Supervision

/// The local API on its unix socket: an inherited one (samd.socket) or one of our own.
package struct LocalAPIServer: SupervisedService {
    /// Where the server listens.
    package enum Listener: Sendable {
        /// A listening socket that the service manager passed.
        case inherited(descriptor: Int32)
        /// A socket that this process makes, mode 0666: reading is for everybody, changing is checked per request.
        case path(String)
    }

    package let monitor: ServiceMonitor
    private let listener: Listener
    private let routes: LocalAPIRoutes
    private let logger: Logger

    /// The most connections served at a time; further ones wait in the kernel's backlog.
    static let maximumConnections = 256

    package init(monitor: ServiceMonitor, listener: Listener, routes: LocalAPIRoutes, logger: Logger) {
        self.monitor = monitor
        self.listener = listener
        self.routes = routes
        self.logger = logger
    }

    package func run() async throws {
        // One loop is plenty for a local socket; NIO's shared group has a thread per core.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        do {
            try await run(on: group)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
        try? await group.shutdownGracefully()
    }

    private func run(on group: MultiThreadedEventLoopGroup) async throws {
        let channel = HTTP1Channel(responder: responder(), configuration: .init(idleTimeout: .seconds(300)))
        let server = try await bind(on: group) { child in channel.setup(channel: child, logger: logger) }
        monitor.report(.ok(detail: describe()))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.serve(server, with: channel) }
            group.addTask { try await self.stampProgress(of: server.channel) }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Accepts until cancelled. Each connection runs on its own; one that fails ends alone.
    private func serve(_ server: ServerChannel, with channel: HTTP1Channel) async throws {
        try await server.executeThenClose { inbound in
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                var open = 0
                for try await connection in inbound {
                    if open == Self.maximumConnections { try await group.next() } else { open += 1 }
                    group.addTask { await channel.handle(value: connection, logger: self.logger) }
                }
            }
        }
    }

    /// Progress means that the event loop still turns: a task that went through it comes back.
    private func stampProgress(of channel: any Channel) async throws {
        while !Task.isCancelled {
            try await channel.eventLoop.submit {}.get()
            monitor.progressed()
            try await Task.sleep(for: Heartbeat.interval, clock: .suspending)
        }
    }

    private typealias ServerChannel = NIOAsyncChannel<HTTP1Channel.Value, Never>

    private func bind(
        on group: MultiThreadedEventLoopGroup,
        _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<HTTP1Channel.Value>
    ) async throws -> ServerChannel {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
        let strategy = NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark(
            lowWatermark: 2, highWatermark: 16)
        switch listener {
        case .inherited(let descriptor):
            return try await bootstrap.bind(
                descriptor, cleanupExistingSocketFile: false, serverBackPressureStrategy: strategy,
                childChannelInitializer: initializer)
        case .path(let path):
            let server = try await bootstrap.bind(
                unixDomainSocketPath: path, cleanupExistingSocketFile: true,
                serverBackPressureStrategy: strategy,
                childChannelInitializer: initializer)
            chmod(path, 0o666)
            return server
        }
    }

    private func responder() -> HTTPChannelHandler.Responder {
        let responder = routes.router().buildResponder()
        let logger = logger
        return { request, writer, channel in
            let context = LocalAPIContext(source: .init(channel: channel, logger: logger))
            let response: Response
            do {
                response = try await responder.respond(to: request, context: context)
            } catch let problem as ProblemDetails {
                response = LocalAPIRoutes.answer(problem)
            } catch {
                logger.error("the local API failed on \(request.method) \(request.uri.path): \(error)")
                response = LocalAPIRoutes.answer(
                    ProblemDetails(
                        "internal", status: 500, title: "Internal error",
                        detail: "the request could not be answered",
                        hint: "see journalctl -u samd"))
            }
            try await writer.write(response: response.head, body: response.body)
        }
    }

    private func describe() -> String {
        switch listener {
        case .inherited: "socket of samd.socket"
        case .path(let path): path
        }
    }
}
