import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import NIOPosix
package import Supervision
import Synchronization

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
        let http = HTTP1Channel(responder: responder(), configuration: .init(idleTimeout: .seconds(300)))
        let connections = ServedConnections()
        let logger = logger
        let server = try await bind(on: group) { child in
            http.setup(channel: child, logger: logger).map { connection in
                connections.serve { await http.handle(value: connection, logger: logger) }
            }
        }
        monitor.report(.ok(detail: describe()))
        do { try await stampProgress(of: server) } catch {
            try? await server.close()
            await connections.stop()
            throw error
        }
    }

    /// Progress means that the event loop still turns: a task that went through it comes back.
    private func stampProgress(of channel: any Channel) async throws -> Never {
        while true {
            try await channel.eventLoop.submit {}.get()
            monitor.progressed()
            try await Task.sleep(for: Heartbeat.interval, clock: .suspending)
        }
    }

    private func bind(
        on group: MultiThreadedEventLoopGroup,
        _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) async throws -> any Channel {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        AvailableConnectionsChannelHandler(
                            delegate: MaximumAvailableConnections(Self.maximumConnections)))
                }
            }
            .childChannelInitializer(initializer)
        switch listener {
        case .inherited(let descriptor):
            return try await bootstrap.withBoundSocket(descriptor).get()
        case .path(let path):
            let server = try await bootstrap.bind(
                unixDomainSocketPath: path, cleanupExistingSocketFile: true
            ).get()
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

/// The connections that are being served, each by a task of its own; one that fails ends alone.
///
/// Every connection gets its task at once, also while the server stops. NIO's own sequence of accepted connections would drop those
/// that were not yet taken, and traps for a connection that nobody finishes.
private final class ServedConnections: Sendable {
    private struct State {
        var isStopping = false
        var lastID = 0
        var tasks: [Int: Task<Void, Never>] = [:]
    }
    private let state = Mutex(State())

    func serve(_ work: @escaping @Sendable () async -> Void) {
        state.withLock { state in
            state.lastID += 1
            let id = state.lastID
            // It cannot end before it is in the table: its end takes the lock, too.
            let task = Task {
                await work()
                self.state.withLock { _ = $0.tasks.removeValue(forKey: id) }
            }
            state.tasks[id] = task
            if state.isStopping { task.cancel() }
        }
    }

    /// Ends all connections, and waits for them.
    func stop() async {
        while true {
            let tasks = state.withLock { state in
                state.isStopping = true
                return Array(state.tasks.values)
            }
            if tasks.isEmpty { return }
            for task in tasks { task.cancel() }
            for task in tasks { await task.value }
        }
    }
}
