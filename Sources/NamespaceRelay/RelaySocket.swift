internal import Glibc

/// The folder with the relays' unix sockets, which is the relays' alone.
struct RelayFolder: Sendable {
    let path: String

    /// The longest path of a unix socket, without the NUL (`sun_path` in unix(7)).
    static let pathLimitBytes = 107
    /// Connections that may wait for accept(2); beyond it connect(2) fails at once where it may not block, as in Go.
    private static let backlog: Int32 = 4096

    /// Makes the folder (mode 0711: sockets can be reached by name, not listed) and removes the sockets that a
    /// killed daemon left in it.
    func prepare() throws(RelayError) {
        if mkdir(path, 0o711) != 0, errno != EEXIST { throw RelayError("create", path, errno: errno) }
        var status = stat()
        guard lstat(path, &status) == 0 else { throw RelayError("look at", path, errno: errno) }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw RelayError("use", path, .invalid("is not a folder; remove it"))
        }
        guard status.st_uid == geteuid() else {
            throw RelayError("use", path, .invalid("belongs to user \(status.st_uid); remove it"))
        }
        // The umask of a daemon usually takes away what others need to pass through.
        guard chmod(path, 0o711) == 0 else { throw RelayError("set the mode of", path, errno: errno) }
        removeSockets()
    }

    private func removeSockets() {
        guard let stream = opendir(path) else { return }
        defer { closedir(stream) }
        var stale: [String] = []
        while let entry = readdir(stream) {
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return }
            let name = String(cString: (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self))
            if name.utf8.count > 5, name.hasSuffix(".sock") { stale.append("\(path)/\(name)") }
        }
        for file in stale {
            var status = stat()
            if lstat(file, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK { unlink(file) }
        }
    }

    /// The path of a relay's socket.
    func socketPath(of name: String) throws(RelayError) -> String {
        let isPlain =
            !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: ":"),
                    UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
        guard isPlain else {
            throw RelayError(
                "name", "\"\(name)\"", .invalid("a relay's name is made of a-z, 0-9, '.', ':' and '-'"))
        }
        let socket = "\(path)/\(name).sock"
        guard socket.utf8.count <= Self.pathLimitBytes else {
            throw RelayError(
                "listen on", socket,
                .invalid("longer than the \(Self.pathLimitBytes) bytes that a unix socket's path may have"))
        }
        return socket
    }

    /// Listens on a unix socket that everybody may connect to; who may stay is decided by the peer's user.
    static func listen(on path: String) throws(RelayError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let listener = socket(AF_UNIX, type, 0)
        guard listener >= 0 else { throw RelayError("listen on", path, errno: errno) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        unlink(path)
        let isBound = withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, __CONST_SOCKADDR_ARG(__sockaddr__: $0), length) == 0
            }
        }
        // The mode is set before listen(2), until when nobody can connect.
        guard isBound, chmod(path, 0o666) == 0, Glibc.listen(listener, backlog) == 0 else {
            let error = errno
            close(listener)
            if isBound { unlink(path) }
            throw RelayError("listen on", path, errno: error)
        }
        return listener
    }
}
