package import CaddyConfig
import Synchronization

/// What Caddy's access log says about each published port since samd started: requests and bytes.
package final class PortTraffic: Sendable {
    /// What went through one port.
    package struct Counters: Sendable, Equatable {
        /// Answered requests by the hundreds of their status: `1` to `5`; an upgraded connection counts when it ends.
        package var requests: [Int: UInt64] = [:]
        /// Of them, those that came with the web password.
        package var authenticated: UInt64 = 0
        /// Bytes of answers' bodies.
        package var sentBytes: UInt64 = 0
        /// Bytes of requests' bodies.
        package var receivedBytes: UInt64 = 0
        /// When the last request ended, in seconds since 1970; 0 before the first.
        package var lastRequest: Double = 0

        package var total: UInt64 { requests.values.reduce(0, +) }
    }

    private struct State {
        var names: [String: String] = [:]
        var counters: [String: Counters] = [:]
        var elsewhere: UInt64 = 0
    }

    /// Ports whose counters are kept, those that are closed now included.
    static let limit = 1024
    private let state = Mutex(State())

    package init() {}

    /// Which host names belong to which port; counters of ports that are not among them stay as long as there is room.
    package func follow(_ routes: [Route]) {
        var names: [String: String] = [:]
        for route in routes { for host in route.hosts { names[host] = String(route.id.dropFirst()) } }
        state.withLock { state in
            state.names = names
            guard state.counters.count > Self.limit else { return }
            let live = Set(names.values)
            state.counters = state.counters.filter { live.contains($0.key) }
        }
    }

    /// Counts requests.
    package func add(_ entries: [AccessLogEntry]) {
        state.withLock { state in
            for entry in entries {
                guard let name = state.names[entry.host] else {
                    state.elsewhere += 1
                    continue
                }
                state.counters[name, default: Counters()].add(entry)
            }
        }
    }

    /// The port that a host belongs to.
    package func name(of host: String) -> String? { state.withLock { $0.names[host] } }

    /// The counters by port name.
    package func snapshot() -> [String: Counters] { state.withLock { $0.counters } }

    /// Requests for hosts that no port had when they ended.
    package var elsewhere: UInt64 { state.withLock { $0.elsewhere } }
}

extension PortTraffic.Counters {
    fileprivate mutating func add(_ entry: AccessLogEntry) {
        requests[entry.status / 100, default: 0] += 1
        if entry.user != nil { authenticated += 1 }
        sentBytes &+= entry.bytesWritten
        receivedBytes &+= entry.bytesRead
        lastRequest = max(lastRequest, entry.time)
    }
}
