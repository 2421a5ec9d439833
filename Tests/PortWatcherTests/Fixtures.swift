import Glibc
import PortWatcher
import ProcFS
import Synchronization
import Testing

/// A clock that stands still until it is moved.
final class HandClock: Sendable {
    private let instant = Mutex(SuspendingClock().now)
    var now: SuspendingClock.Instant { instant.withLock { $0 } }
    func advance(by duration: Duration) { instant.withLock { $0 = $0.advanced(by: duration) } }
}

/// Short ways to write scans.
enum Sample {
    /// The daemon's own namespace in all of them.
    static let own: UInt64 = 7

    static func observation(
        _ port: UInt16, on address: IPAddress = .loopbackIPv4, uid: UInt32 = 1000, inode: UInt64? = nil,
        pid: Int32? = nil, in namespace: UInt64 = Sample.own
    ) -> PortScan.Observation {
        let process = pid.map {
            OwnerProcess(pid: $0, startTime: 1, command: ["node"], executable: "node")
        }
        return PortScan.Observation(
            namespace: namespace,
            listener: TCPListener(
                table: address.isIPv6 ? .ipv6 : .ipv4, address: address, port: port, uid: uid,
                inode: inode ?? UInt64(port)), process: process)
    }

    static func scan(_ observations: PortScan.Observation..., gaps: [TCPTable: PortScan.Gap] = [:])
        -> PortScan
    {
        let places = gaps.map { (PortScan.Place(namespace: own, table: $0.key), $0.value) }
        return PortScan(
            ownNamespace: own, observations: observations,
            namespaces: Set(observations.map(\.namespace)).union([own]),
            gaps: Dictionary(uniqueKeysWithValues: places))
    }

    /// A gap as a garbled row leaves it.
    static let gap = PortScan.Gap.malformed(
        rows: 1, first: MalformedRow(line: 2, problem: .unterminated))

    /// A row of net/tcp for 127.0.0.1.
    static func row(port: UInt16, uid: UInt32 = 1000, inode: UInt64) -> String {
        let digits = String(port, radix: 16, uppercase: true)
        let padded = String(repeating: "0", count: 4 - digits.count) + digits
        return "   0: 0100007F:\(padded) 00000000:0000 0A 0:0 00:0 0 \(uid) 0 \(inode) 1 0 100 0 0 10 0\n"
    }

    static let header =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
}

/// A TCP socket on a free loopback port, closed with the value.
final class LoopbackSocket {
    let descriptor: Int32
    let port: UInt16
    let inode: UInt64

    /// Binds, but does not listen yet.
    init() throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        try #require(descriptor >= 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = descriptor
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(descriptor, __CONST_SOCKADDR_ARG(__sockaddr__: generic), length) == 0
                    && getsockname(descriptor, __SOCKADDR_ARG(__sockaddr__: generic), &length) == 0
            }
        }
        try #require(result)
        port = UInt16(bigEndian: address.sin_port)
        var status = stat()
        try #require(fstat(descriptor, &status) == 0)
        inode = UInt64(status.st_ino)
    }

    func connect(to port: UInt16) throws {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        address.sin_port = port.bigEndian
        let descriptor = descriptor
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                Glibc.connect(
                    descriptor, __CONST_SOCKADDR_ARG(__sockaddr__: generic),
                    socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
    }

    func listen() throws { try #require(Glibc.listen(descriptor, 16) == 0) }

    deinit { close(descriptor) }
}
