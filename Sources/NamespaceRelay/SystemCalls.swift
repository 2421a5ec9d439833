internal import CLinux
internal import Glibc

/// A descriptor that is closed with its last owner. Whoever uses the number keeps the object meanwhile, so that the
/// number cannot come to mean something else.
final class Descriptor: Sendable {
    let number: Int32
    init(_ number: Int32) { self.number = number }
    deinit { close(number) }
}

/// A numeric address and port for connect(2).
struct SocketAddress: Sendable {
    let family: Int32
    private let storage: sockaddr_storage
    private let length: socklen_t

    /// `nil` unless the address is IPv4 or IPv6 in the forms of inet_pton(3).
    init?(address: String, port: UInt16) {
        // A NUL would end the C string early and hide what follows it.
        guard !address.utf8.contains(0) else { return nil }
        var storage = sockaddr_storage()
        var ipv4 = sockaddr_in()
        var ipv6 = sockaddr_in6()
        if inet_pton(AF_INET, address, &ipv4.sin_addr) == 1 {
            ipv4.sin_family = sa_family_t(AF_INET)
            ipv4.sin_port = port.bigEndian
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: ipv4, as: sockaddr_in.self) }
            (family, length) = (AF_INET, socklen_t(MemoryLayout<sockaddr_in>.size))
        } else if inet_pton(AF_INET6, address, &ipv6.sin6_addr) == 1 {
            ipv6.sin6_family = sa_family_t(AF_INET6)
            ipv6.sin6_port = port.bigEndian
            withUnsafeMutableBytes(of: &storage) { $0.storeBytes(of: ipv6, as: sockaddr_in6.self) }
            (family, length) = (AF_INET6, socklen_t(MemoryLayout<sockaddr_in6>.size))
        } else {
            return nil
        }
        self.storage = storage
    }

    /// connect(2): 0, or -1 and errno.
    func connect(_ descriptor: Int32) -> Int32 {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, __CONST_SOCKADDR_ARG(__sockaddr__: $0), length)
            }
        }
    }

    /// Whether the socket is bound to this very address. A loopback socket whose ephemeral port happens to be the
    /// one it dials connects to itself when nobody listens there.
    func isOwn(of descriptor: Int32) -> Bool {
        var own = sockaddr_storage()
        var ownLength = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &own) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, __SOCKADDR_ARG(__sockaddr__: $0), &ownLength)
            }
        }
        guard result == 0, ownLength == length else { return false }
        // Family, port and address stand first in both families; IPv6 ends with the scope, 0 for loopback.
        return withUnsafeBytes(of: own) { own in
            withUnsafeBytes(of: storage) { wanted in
                own.prefix(Self.comparedBytes(family)).elementsEqual(
                    wanted.prefix(Self.comparedBytes(family)))
            }
        }
    }

    private static func comparedBytes(_ family: Int32) -> Int {
        family == AF_INET ? 8 : MemoryLayout<sockaddr_in6>.size
    }
}

/// Sets an integer option of a socket; what the kernel refuses is only a nicety everywhere it is used.
func setOption(_ descriptor: Int32, level: Int32, _ option: Int32, to value: Int32) {
    var value = value
    setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
}

/// Milliseconds of CLOCK_MONOTONIC.
func monotonicMilliseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

/// Adds one to an eventfd(2), which wakes its reader.
func ring(_ bell: Descriptor) {
    var one: UInt64 = 1
    write(bell.number, &one, MemoryLayout<UInt64>.size)
}

/// Empties an eventfd(2); blocks while it is empty, if it is a blocking one.
func listen(to bell: Descriptor) {
    var count: UInt64 = 0
    read(bell.number, &count, MemoryLayout<UInt64>.size)
}

/// Threads with a small stack and all signals blocked; those are the daemon's own.
enum Thread {
    private static let stackBytes = 256 << 10

    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Starts a thread, to be joined by the caller.
    static func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(RelayError) -> pthread_t
    {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stackBytes)
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        var thread = pthread_t()
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        pthread_sigmask(SIG_SETMASK, &all, &before)
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
                pthread_setname_np(pthread_self(), start.name)
                start.body()
                return nil
            }, start.toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        guard code == 0 else {
            start.release()
            throw RelayError("start", "the thread \(name)", errno: code)
        }
        return thread
    }
}
