import Glibc

/// A kind of namespace that a process lives in (namespaces(7)).
package enum NamespaceKind: String, Sendable {
    case network = "net"
    case process = "pid"
    case user = "user"
}

extension ProcFileSystem {
    /// Bytes of `mountinfo` that are read; a machine with 10,000 mounts has 2 MB of it.
    static let mountInfoLimitBytes = 8 << 20
    /// Bytes of `net/fib_trie` and `net/route` that are read.
    static let routingLimitBytes = 1 << 20
    /// User namespaces nest no deeper (create_user_ns of the kernel).
    private static let userNamespaceDepth = 33

    /// The inode of a namespace of a process; `nil` if the process is gone.
    ///
    /// Processes of other users need CAP_SYS_PTRACE, else `.denied`.
    package func namespace(_ kind: NamespaceKind, of pid: Int32) throws(ProcFSError) -> UInt64? {
        try unlessGone { () throws(ProcFSError) in try namespace(kind, of: .process(pid)) }
    }

    /// The inode of a namespace, which is its identity as long as it lives.
    package func namespace(_ kind: NamespaceKind, of view: NetworkView) throws(ProcFSError) -> UInt64 {
        let path = "\(root)/\(view.folder)/ns/\(kind.rawValue)"
        // "user:[" and 20 digits and "]" fit.
        let (inode, length) = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) {
            memory -> (UInt64?, Int) in
            guard let start = memory.baseAddress, case let length = readlink(path, start, memory.count),
                length >= 0
            else { return (nil, -1) }
            let prefix = kind.rawValue.utf8.count + 2
            guard length > prefix + 1, strncmp(start, "\(kind.rawValue):[", prefix) == 0 else {
                return (nil, length)
            }
            return (Self.number(memory[prefix..<length - 1]), length)
        }
        guard length >= 0 else { throw ProcFSError("read link", path, Errno.current) }
        guard let inode else {
            throw ProcFSError("read link", path, .malformed("it names no \(kind.rawValue) namespace"))
        }
        return inode
    }

    /// The network namespaces that are mounted in this process's own mount namespace.
    package func mountedNetworkNamespaces() throws(ProcFSError) -> [MountedNamespace] {
        var buffer = ReadBuffer()
        try buffer.load("\(root)/self/mountinfo", limitBytes: Self.mountInfoLimitBytes)
        return buffer.withBytes { MountInfoParser.networkNamespaces($0) }
    }

    /// The IPv4 addresses of a network namespace, without 127.0.0.0/8.
    package func localAddresses(of view: NetworkView = .own) throws(ProcFSError) -> Set<IPAddress> {
        var buffer = ReadBuffer()
        try buffer.load("\(root)/\(view.folder)/net/fib_trie", limitBytes: Self.routingLimitBytes)
        return buffer.withBytes { FIBTrieParser.localAddresses($0) }
    }

    /// The IPv4 routes in the main table of this process's network namespace.
    package func routes() throws(ProcFSError) -> [IPv4Route] {
        let path = "\(root)/self/net/route"
        var buffer = ReadBuffer()
        try buffer.load(path, limitBytes: Self.routingLimitBytes)
        guard let routes = buffer.withBytes({ RouteTableParser.parse($0) }) else {
            throw ProcFSError("read", path, .malformed("more than \(RouteTableParser.routeLimit) routes"))
        }
        return routes
    }

    /// The paths of this process itself in the cgroup trees, the unified one first.
    package func ownControlGroups() throws(ProcFSError) -> [String] {
        var buffer = ReadBuffer()
        try buffer.load("\(root)/self/cgroup", limitBytes: 64 << 10)
        return buffer.withBytes { ProcText.controlGroups($0) }
    }

    /// The whole of a file outside of proc that tells about a process.
    package func file(_ path: String, limitBytes: Int) throws(ProcFSError) -> [UInt8] {
        try bytes(path, limitBytes: limitBytes)
    }

    /// How many TCP sockets of any state a network namespace has in one table. The kernel adds up counters of its CPUs
    /// without a lock: right when nothing changes, else by chance off by a few. `nil` if it cannot be told.
    package func socketsInUse(in table: TCPTable, of view: NetworkView) -> UInt64? {
        var buffer = ReadBuffer()
        let file = table == .ipv4 ? "sockstat" : "sockstat6"
        guard (try? buffer.load("\(root)/\(view.folder)/net/\(file)", limitBytes: 4096)) != nil else {
            return nil
        }
        return buffer.withBytes { ProcText.socketsInUse($0, in: table) }
    }

    /// Who made the user namespace that a process lives in or that owns its network namespace, as a user of this process's
    /// own user namespace: 0 if that is this one. Of nested ones the outermost counts.
    ///
    /// `nil` if it cannot be told: the process is gone, may not be looked at, or lives in a user namespace that does not
    /// descend from this one.
    package func userNamespaceCreator(of pid: Int32, owning kind: NamespaceKind = .user) -> UInt32? {
        guard let own = try? namespace(.user, of: .own) else { return nil }
        if kind == .user, (try? namespace(.user, of: .process(pid))) == own { return 0 }
        let descriptor = open("\(root)/\(pid)/ns/\(kind.rawValue)", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        guard kind != .user else { return Self.creator(ofUserNamespace: descriptor, below: own) }
        defer { close(descriptor) }
        let owner = ioctl(descriptor, Self.getUserNamespace)
        return owner >= 0 ? Self.creator(ofUserNamespace: owner, below: own) : nil
    }

    // NS_GET_USERNS, NS_GET_PARENT and NS_GET_OWNER_UID of linux/nsfs.h (ioctl_ns(2)).
    private static let getUserNamespace: UInt = 0xb701
    private static let getParent: UInt = 0xb702
    private static let getOwner: UInt = 0xb704

    /// Takes the descriptor over.
    private static func creator(ofUserNamespace descriptor: Int32, below own: UInt64) -> UInt32? {
        var current = descriptor
        defer { close(current) }
        guard let inode = inode(of: current) else { return nil }
        if inode == own { return 0 }
        for _ in 0..<userNamespaceDepth {
            let parent = ioctl(current, getParent)
            guard parent >= 0 else { return nil }
            if Self.inode(of: parent) == own {
                close(parent)
                var owner: UInt32 = 0
                return ioctl(current, getOwner, &owner) == 0 ? owner : nil
            }
            close(current)
            current = parent
        }
        return nil
    }

    private static func inode(of descriptor: Int32) -> UInt64? {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? UInt64(status.st_ino) : nil
    }
}
