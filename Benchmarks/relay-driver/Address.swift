import Glibc

/// Where to connect: a unix socket's path or a port of 127.0.0.1.
struct Address {
    private var storage = sockaddr_storage()
    private let length: Int
    private let family: Int32

    init(_ text: String) {
        if let port = UInt16(text) {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            address.sin_port = port.bigEndian
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_in.self) }
            (family, length) = (AF_INET, MemoryLayout<sockaddr_in>.size)
        } else {
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: text.utf8) }
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: address, as: sockaddr_un.self) }
            (family, length) = (AF_UNIX, MemoryLayout<sockaddr_un>.size)
        }
    }

    /// A connected, blocking socket.
    func connect() -> Int32 {
        let descriptor = must(
            "socket", socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
        let result = withGeneric { Glibc.connect(descriptor, __CONST_SOCKADDR_ARG(__sockaddr__: $0), $1) }
        _ = must("connect", result)
        return descriptor
    }

    /// A listening socket and its port.
    func listen() -> (Int32, UInt16) {
        let descriptor = must(
            "socket", socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
        _ = must("bind", withGeneric { bind(descriptor, __CONST_SOCKADDR_ARG(__sockaddr__: $0), $1) })
        _ = must("listen", Glibc.listen(descriptor, 4096))
        var own = sockaddr_in()
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &own) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, __SOCKADDR_ARG(__sockaddr__: $0), &size)
            }
        }
        _ = must("getsockname", result)
        return (descriptor, UInt16(bigEndian: own.sin_port))
    }

    private func withGeneric(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(length)) }
        }
    }
}
