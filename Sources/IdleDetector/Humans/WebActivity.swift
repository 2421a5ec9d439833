/// What people and pages do on published ports, as the access log tells: pure.
///
/// An authenticated request that changes something, or that the browser marks as a user's act (`Sec-Fetch-User`), is a person's.
/// Any other authenticated one is a page's: polling, event streams, websockets. What nobody authenticated is everybody's, and
/// leaves no trace. A page that polls with POST is told from a person by its never pausing; that is the policy's to see.
package struct WebActivity: Sendable, Equatable {
    /// Ports that are remembered; the one that was quiet the longest makes room.
    package static let portLimit = 256
    /// Bytes of a port's name that are kept.
    static let nameLimitBytes = 64

    private struct Port: Sendable, Equatable {
        /// Marked by the browser as a person's act; a page cannot forge that.
        var person: Requests?
        /// Sent something; a page may do that in a loop, which must not make the person's acts look like one.
        var sent: Requests?
        var background: Requests?
        var latest: Moment { [person, sent, background].compactMap { $0?.latest }.max() ?? .boot }
    }

    private struct Requests: Sendable, Equatable {
        var first: Moment
        var latest: Moment
        var count: UInt64 = 0
        var bytes: UInt64 = 0

        mutating func add(_ sent: UInt64, at moment: Moment) {
            // The log's lines of two connections may come out of order.
            latest = max(latest, moment)
            count &+= 1
            bytes &+= sent
        }
    }

    private var ports: [String: Port] = [:]

    package init() {}

    /// Takes one request into account.
    ///
    /// - Parameters:
    ///   - authenticated: whether the port asked for a password and got the right one; false for any request on a public port.
    ///   - isUserActivated: whether it carries `Sec-Fetch-User: ?1`, which pages cannot set.
    ///   - isUpgrade: whether it became a websocket; then it is logged when that ends.
    ///   - bytes: what was sent to the browser.
    package mutating func add(
        port: String, user authenticated: Bool, method: String, isUserActivated: Bool, isUpgrade: Bool,
        bytes: UInt64,
        at moment: Moment
    ) {
        guard authenticated else { return }
        let name = HostileText.line(port, limitBytes: Self.nameLimitBytes)
        if ports[name] == nil, ports.count >= Self.portLimit,
            let quietest = ports.min(by: { ($0.value.latest, $0.key) < ($1.value.latest, $1.key) })
        {
            ports[quietest.key] = nil
        }
        let isReading = ["GET", "HEAD", "OPTIONS"].contains(method)
        let kept: WritableKeyPath<Port, Requests?> =
            if isUpgrade { \.background } else if isUserActivated { \.person } else if isReading {
                \.background
            } else { \.sent }
        var requests = ports[name]?[keyPath: kept] ?? Requests(first: moment, latest: moment)
        requests.add(bytes, at: moment)
        ports[name, default: Port()][keyPath: kept] = requests
    }

    /// What was seen up to now, by port.
    package func signals(now: Moment) -> [Signal] {
        var signals: [Signal] = []
        for (name, port) in ports.sorted(by: { $0.key < $1.key }) {
            if let person = port.person {
                signals.append(Self.signal(person, .webPerson, "web:\(name):person", port: name, now: now))
            }
            if let sent = port.sent {
                signals.append(Self.signal(sent, .webPerson, "web:\(name):sent", port: name, now: now))
            }
            if let background = port.background {
                signals.append(
                    Self.signal(background, .webBackground, "web:\(name):background", port: name, now: now))
            }
        }
        return signals
    }

    private static func signal(
        _ requests: Requests, _ kind: Signal.Kind, _ id: String, port: String, now: Moment
    ) -> Signal {
        Signal(
            id: id, kind: kind, subject: "port \(port)",
            detail: "\(requests.count) requests, \(requests.bytes) bytes", since: requests.first,
            changedAt: min(requests.latest, now))
    }
}
