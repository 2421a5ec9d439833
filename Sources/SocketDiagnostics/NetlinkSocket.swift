internal import CLinux
internal import Glibc
internal import ProcFS

/// A netlink socket to the kernel's socket diagnostics; closed with the value.
struct NetlinkSocket: ~Copyable {
    /// The kernel writes dumps in datagrams of 32 KB at most.
    private static let bufferBytes = 32 << 10
    /// The kernel answers at once; this only keeps a bug from hanging the caller.
    private static let patience = timeval(tv_sec: 2, tv_usec: 0)

    private let descriptor: Int32
    private var buffer = [UInt8](repeating: 0, count: Self.bufferBytes)

    init() throws(Errno) {
        descriptor = socket(
            AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), NETLINK_SOCK_DIAG)
        guard descriptor >= 0 else { throw Errno.current }
        var patience = Self.patience
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func send(_ message: [UInt8]) throws(Errno) {
        while Glibc.send(descriptor, message, message.count, 0) != message.count {
            guard errno == EINTR else { throw Errno.current }
        }
    }

    /// The next datagram from the kernel; EMSGSIZE when it was longer than the buffer.
    mutating func receive() throws(Errno) -> ArraySlice<UInt8> {
        while true {
            var sender = sockaddr_nl()
            var length = socklen_t(MemoryLayout<sockaddr_nl>.size)
            let descriptor = descriptor
            let count = withUnsafeMutablePointer(to: &sender) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                    recvfrom(
                        descriptor, &buffer, Self.bufferBytes, Int32(MSG_TRUNC),
                        __SOCKADDR_ARG(__sockaddr__: generic), &length)
                }
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw Errno.current
            }
            // A privileged process could send something as well.
            guard sender.nl_pid == 0 else { continue }
            guard count <= Self.bufferBytes else { throw Errno(rawValue: EMSGSIZE) }
            return buffer[..<count]
        }
    }
}
