internal import Glibc

/// The listening socket of the access log.
struct AccessLogSocket {
    let descriptor: Int32
    /// Removed at the end, unless something else is there by then.
    private let file: (path: String, device: dev_t, inode: ino_t)?

    private static let backlog: Int32 = 16

    init(_ listener: AccessLogService.Listener) throws(AccessLogSocketError) {
        switch listener {
        case .inherited(let inherited):
            // The service manager's own stays open for the next start.
            descriptor = fcntl(inherited, F_DUPFD_CLOEXEC, 3)
            file = nil
            if descriptor < 0 { throw Self.error("use inherited socket \(inherited)") }
            let flags = fcntl(descriptor, F_GETFL)
            if flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0 {
                Glibc.close(descriptor)
                throw Self.error("use inherited socket \(inherited)")
            }
        case .path(let path):
            (descriptor, file) = try Self.listen(path)
        }
    }

    func close() {
        Glibc.close(descriptor)
        guard let file else { return }
        var status = stat()
        if lstat(file.path, &status) == 0, status.st_dev == file.device, status.st_ino == file.inode {
            unlink(file.path)
        }
    }

    private static func listen(
        _ path: String
    ) throws(AccessLogSocketError) -> (Int32, (path: String, device: dev_t, inode: ino_t)) {
        guard var address = UnixSocketAddress(path) else {
            throw AccessLogSocketError(
                description: "listen on \(path): a unix socket's path has 1 to 107 bytes")
        }
        let descriptor = socket(
            AF_UNIX,
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue),
            0)
        guard descriptor >= 0 else { throw error("listen on \(path)") }
        var status = stat()
        // Of a daemon that was killed. Anything but a socket stays, and bind(2) says so.
        if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK { unlink(path) }
        let isBound =
            address.withPointer { bind(descriptor, __CONST_SOCKADDR_ARG(__sockaddr__: $0), $1) } == 0
        // Caddy's user has to reach it; who it was is asked when it connects.
        guard isBound, chmod(path, 0o666) == 0, Glibc.listen(descriptor, backlog) == 0,
            lstat(path, &status) == 0
        else {
            let failure = error("listen on \(path)")
            Glibc.close(descriptor)
            if isBound { unlink(path) }
            throw failure
        }
        return (descriptor, (path, status.st_dev, status.st_ino))
    }

    private static func error(_ operation: String) -> AccessLogSocketError {
        AccessLogSocketError(description: "\(operation): \(String(cString: strerror(errno)))")
    }
}
