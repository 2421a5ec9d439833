package import CaddyConfig
package import PortWatcher
import ProcFS
import Synchronization

/// Which process Caddy is: asked of its admin socket, or found by the port that its admin endpoint listens on.
package final class CaddyIdentity: Sendable {
    private struct State {
        var process: CaddyProcess?
        var askedAt: SuspendingClock.Instant?
    }

    /// Whether the socket tells, rather than the list of ports.
    private let isAsked: Bool
    private let ask: @Sendable () -> CaddyProcess?
    private let admin: (address: IPAddress, port: UInt16)?
    private let state = Mutex(State())

    /// How long an answer is good for: a restarted Caddy is another process of the same user.
    private static let validity: Duration = .seconds(1)
    /// How long it is good for when there is no newer one.
    private static let patience: Duration = .seconds(5)

    /// Creates a memory of who Caddy is.
    package init(admin: CaddyAdminClient) {
        ask = { admin.process() }
        if case .tcp(let host, let port) = admin.endpoint {
            self.admin = IPAddress(host == "localhost" ? "127.0.0.1" : host).map { ($0, port) }
            isAsked = false
        } else {
            self.admin = nil
            isAsked = true
        }
    }

    /// Learns from a list of ports, for an admin endpoint that is one of them.
    package func learn(from ports: [ListeningPort]) {
        guard let admin else { return }
        // Exactly that address: on another one of the same number somebody else may listen.
        let owners = ports.filter {
            $0.entrance == nil && $0.identity.port == admin.port && $0.identity.address == admin.address
        }
        let process = owners.first.flatMap { port in
            port.process.map { CaddyProcess(pid: $0.pid, uid: port.identity.ownerUID) }
        }
        state.withLock { $0.process = owners.count == 1 ? process : nil }
    }

    /// Caddy's process; nil while it is away. Asks the socket at most once a second, which takes some 50 µs.
    package func process() -> CaddyProcess? {
        guard isAsked else { return state.withLock { $0.process } }
        let now = SuspendingClock().now
        return state.withLock { state in
            if let asked = state.askedAt, asked.duration(to: now) < Self.validity, state.process != nil {
                return state.process
            }
            // While Caddy changes its configuration its endpoint may be away for a moment.
            let answer = ask()
            if answer == nil, let asked = state.askedAt, asked.duration(to: now) < Self.patience {
                return state.process
            }
            state.process = answer
            state.askedAt = now
            return answer
        }
    }

    /// Whether a user may use what is meant for Caddy alone: its own user, nobody else.
    package func mayConnect(_ uid: UInt32) -> Bool { process()?.uid == uid }
}
