package import CaddyConfig
package import PortWatcher
import Synchronization

/// Which process Caddy is: asked of its admin socket, or found by the port that its admin endpoint listens on.
package final class CaddyIdentity: Sendable {
    private struct State {
        var process: CaddyProcess?
        var askedAt: SuspendingClock.Instant?
    }

    private let ask: @Sendable () -> CaddyProcess?
    private let adminPort: UInt16?
    private let state = Mutex(State())

    /// How long an answer is good for: a restarted Caddy is another process of the same user.
    private static let validity: Duration = .seconds(1)

    /// Creates a memory of who Caddy is.
    package init(admin: CaddyAdminClient) {
        ask = { admin.process() }
        if case .tcp(_, let port) = admin.endpoint { adminPort = port } else { adminPort = nil }
    }

    /// Learns from a list of ports, for an admin endpoint that is one of them.
    package func learn(from ports: [ListeningPort]) {
        guard let adminPort else { return }
        let owner = ports.first { $0.identity.port == adminPort && $0.entrance == nil }
        let process = owner.flatMap { port in
            port.process.map { CaddyProcess(pid: $0.pid, uid: port.identity.ownerUID) }
        }
        state.withLock { $0.process = process }
    }

    /// Caddy's process; nil while it is away. Asks the socket at most once a second, which takes some 50 µs.
    package func process() -> CaddyProcess? {
        if adminPort != nil { return state.withLock { $0.process } }
        let now = SuspendingClock().now
        return state.withLock { state in
            if let asked = state.askedAt, asked.duration(to: now) < Self.validity, state.process != nil {
                return state.process
            }
            state.process = ask()
            state.askedAt = now
            return state.process
        }
    }

    /// Whether a user may use what is meant for Caddy alone: its own user, nobody else.
    package func mayConnect(_ uid: UInt32) -> Bool { process()?.uid == uid }
}
