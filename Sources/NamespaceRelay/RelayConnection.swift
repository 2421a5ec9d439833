internal import CLinux
internal import Glibc

/// One listening unix socket and where its connections go.
///
/// @unchecked Sendable: what is `let` never changes, the rest is the loop's and touched under its lock only.
final class Relay: @unchecked Sendable {
    let target: RelayTarget
    let path: String
    let address: SocketAddress
    let namespace: Descriptor
    let listener: Descriptor

    var statistics = RelayStatistics()
    /// Where the loop keeps it; 0 while it does not.
    var token: UInt64 = 0
    /// What keeps it from working now.
    var trouble: RelayError?

    init(
        target: RelayTarget, path: String, address: SocketAddress, namespace: Descriptor, listener: Descriptor
    ) {
        self.target = target
        self.path = path
        self.address = address
        self.namespace = namespace
        self.listener = listener
    }

    /// Begins to connect a socket that was made inside; false when that failed at once.
    ///
    /// A namespace may have no `::1` (older Docker turns IPv6 off in containers), and yet servers there listen on `::`. No
    /// listener can be on `::1` itself then, so 127.0.0.1 reaches the one that is meant.
    func dial(_ socket: Int32) -> Bool {
        if address.connect(socket) == 0 || errno == EINPROGRESS { return true }
        guard target.address == "::1", errno == EADDRNOTAVAIL || errno == ENETUNREACH,
            let mapped = SocketAddress(address: "::ffff:127.0.0.1", port: target.port)
        else { return false }
        return mapped.connect(socket) == 0 || errno == EINPROGRESS
    }
}

/// A pair of sockets whose bytes are copied both ways.
final class RelayConnection {
    enum Phase { case waitingForSocket, connecting, open }

    /// One of the two sockets. Readiness is remembered, because epoll tells only its changes (edge-triggered).
    struct Side {
        var descriptor: Int32
        var canRead = false
        var canWrite = false
        /// Nothing can be written to it any more, and what it still has to say is all there.
        var isHungUp = false

        mutating func note(_ events: UInt32) {
            let ended = EPOLLHUP.rawValue | EPOLLERR.rawValue
            if events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue | ended) != 0 { canRead = true }
            if events & (EPOLLOUT.rawValue | ended) != 0 { canWrite = true }
            if events & EPOLLHUP.rawValue != 0 { isHungUp = true }
        }
    }

    /// One way through the pair.
    struct Direction {
        /// Read, but not yet taken by the other side: at most one chunk, and nothing is read until it is gone.
        var leftover: [UInt8] = []
        var leftoverStart = 0
        /// The reading side has ended.
        var isEnded = false
        /// … and the writing side was told.
        var isFinished = false

        var leftoverCount: Int { leftover.count - leftoverStart }
    }

    let relay: Relay
    let token: UInt64
    var phase = Phase.waitingForSocket
    /// The unix socket.
    var outer: Side
    /// The TCP socket in the namespace.
    var inner = Side(descriptor: -1)
    var inward = Direction()
    var outward = Direction()
    /// When it is given up, in milliseconds of CLOCK_MONOTONIC; `nil`: never.
    var deadline: Int64?
    /// Stands in the loop's list of connections that have more to do.
    var isQueued = false

    init(relay: Relay, token: UInt64, outer: Int32) {
        self.relay = relay
        self.token = token
        self.outer = Side(descriptor: outer)
    }
}
