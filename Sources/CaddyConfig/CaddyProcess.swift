internal import Glibc

/// The process behind Caddy's admin socket.
package struct CaddyProcess: Sendable, Equatable {
    /// Its id in this process's pid namespace; 0 when it has none there.
    package var pid: Int32
    /// The effective user it had when it began to listen.
    package var uid: UInt32

    /// Creates a value.
    package init(pid: Int32, uid: UInt32) {
        self.pid = pid
        self.uid = uid
    }
}

extension CaddyAdminClient {
    /// Who listens on the admin socket: the process that called listen(2) on it (unix(7), SO_PEERCRED).
    ///
    /// Nil for a TCP endpoint and when nobody listens. Connects and closes at once; never blocks.
    package func process() -> CaddyProcess? {
        guard case .unix(let path) = endpoint, var address = UnixSocketAddress(path) else { return nil }
        let connection = socket(
            AF_UNIX,
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard connection >= 0 else { return nil }
        defer { close(connection) }
        // Not blocking: with a full backlog this fails with EAGAIN.
        guard address.withPointer({ connect(connection, __CONST_SOCKADDR_ARG(__sockaddr__: $0), $1) }) == 0
        else { return nil }
        return CaddyProcess(peerOf: connection)
    }
}

extension CaddyProcess {
    /// The other end of a connected unix socket; nil when the kernel does not say.
    init?(peerOf connection: Int32) {
        var credentials = ucred()
        var length = socklen_t(MemoryLayout<ucred>.size)
        guard getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else { return nil }
        self.init(pid: credentials.pid, uid: credentials.uid)
    }
}

/// A unix socket's path in the kernel's form.
struct UnixSocketAddress {
    private var value: sockaddr_un

    /// Nil for a path that is empty or too long (107 bytes at most).
    init?(_ path: String) {
        let bytes = Array(path.utf8)
        var value = sockaddr_un()
        value.sun_family = sa_family_t(AF_UNIX)
        guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: value.sun_path), !bytes.contains(0)
        else { return nil }
        withUnsafeMutableBytes(of: &value.sun_path) { $0.copyBytes(from: bytes) }
        self.value = value
    }

    /// For bind(2) and connect(2).
    mutating func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: &value) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}
