import CaddyConfig
import Dispatch
import Logging
import NamespaceRelay
import ProcFS
import SocketDiagnostics

/// Puts out who came in through a route that is gone or asks for a password now: ends the connections that Caddy holds to
/// its upstream, so that Caddy ends those of its clients.
struct ConnectionEnder: Sendable {
    let caddy: CaddyIdentity
    let relays: NamespaceRelays
    let log: EventLog
    private let diagnostics = SocketDiagnostics()
    private let queue = DispatchQueue(label: "samd.connections")

    init(caddy: CaddyIdentity, relays: NamespaceRelays, log: EventLog) {
        self.caddy = caddy
        self.relays = relays
        self.log = log
    }

    /// Ends the connections that these routes have now.
    func end(_ routes: [Route]) async {
        await withCheckedContinuation { continuation in
            queue.async {
                for route in routes { end(route) }
                continuation.resume()
            }
        }
    }

    private func end(_ route: Route) {
        let facts = ["port": String(route.name.prefix { $0 != "-" }), "name": route.name]
        do throws(SocketDiagnosticsError) {
            guard let count = try connections(of: route) else {
                log.record(
                    .connectionsNotEnded, level: .warning,
                    "open connections of port \(route.name) could not be looked for: Caddy's process is not known",
                    facts.merging([
                        "reason": "Caddy's process is not known",
                        "hint": "give Caddy an admin endpoint on a unix socket (caddy.admin)",
                    ]) { old, _ in old })
                return
            }
            guard count > 0 else { return }
            log.record(
                .connectionsEnded,
                "\(count) open connection\(count == 1 ? "" : "s") of port \(route.name) ended with the route",
                facts.merging(["count": "\(count)"]) { old, _ in old })
        } catch {
            log.record(
                .connectionsNotEnded, level: .warning,
                "open connections of port \(route.name) could not be ended: \(error)",
                facts.merging(["reason": "\(error)", "hint": error.hint ?? ""]) { old, _ in old })
        }
    }

    /// How many were ended; nil when that could not be tried.
    private func connections(of route: Route) throws(SocketDiagnosticsError) -> Int? {
        if let relay = route.relayName { return relays.endConnections(of: relay) }
        guard let upstream = route.upstreamAddress else { return 0 }
        // A pid of 0 is one in a pid namespace that is not visible from here.
        guard let process = caddy.process(), process.pid > 0 else { return nil }
        return try diagnostics.endConnections(
            to: upstream.address, port: upstream.port, heldBy: process.pid)
    }
}

extension Route {
    /// The relay's name where the upstream is one's socket.
    var relayName: String? {
        guard upstream.hasPrefix("unix/"), upstream.hasSuffix(".sock"),
            let slash = upstream.lastIndex(of: "/")
        else { return nil }
        return String(upstream[upstream.index(after: slash)...].dropLast(".sock".count))
    }

    /// What is dialled where it is an address.
    var upstreamAddress: (address: IPAddress, port: UInt16)? {
        guard let colon = upstream.lastIndex(of: ":"),
            let port = UInt16(upstream[upstream.index(after: colon)...])
        else { return nil }
        let host = upstream[..<colon].drop { $0 == "[" }.prefix { $0 != "]" }
        return IPAddress(String(host)).map { ($0, port) }
    }
}
