import Glibc
import ProcFS

/// Who is at the other end of the socket (SO_PEERCRED, unix(7)).
package struct Peer: Sendable, Equatable {
    package var pid: Int32
    package var uid: UInt32
    package var gid: UInt32
    /// Whether the process lives in the daemon's own pid namespace. A container's root has uid 0 too.
    package var isOnHost: Bool
    /// When the process started, in clock ticks since boot; nil where that cannot be told.
    package var startTime: UInt64?

    package init(pid: Int32, uid: UInt32, gid: UInt32, isOnHost: Bool, startTime: UInt64? = nil) {
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self.isOnHost = isOnHost
        self.startTime = startTime
    }
}

/// What a peer may do: reading is for whoever can open the socket, changing and secrets are not.
package struct PeerAuthorization: Sendable {
    /// What a request asks for.
    package enum Right: Sendable {
        case read, change
        /// To keep the machine: as `change`, and from inside a container, too, because agents work there.
        case hold
    }

    /// Whether a user id belongs to a workspace owner.
    package var isWorkspaceOwner: @Sendable (UInt32) -> Bool
    /// The members of the group `samd`, by user id.
    package var isInGroup: @Sendable (UInt32, UInt32) -> Bool

    package init(
        isWorkspaceOwner: @escaping @Sendable (UInt32) -> Bool,
        isInGroup: @escaping @Sendable (UInt32, UInt32) -> Bool
    ) {
        self.isWorkspaceOwner = isWorkspaceOwner
        self.isInGroup = isInGroup
    }

    /// Nil when the peer has the right, else the problem to answer with.
    package func refusal(of peer: Peer?, right: Right) -> ProblemDetails? {
        if right == .read { return nil }
        guard let peer else {
            return problem("who is asking cannot be told on this kind of connection")
        }
        guard peer.isOnHost || right == .hold else {
            return problem("the request comes from inside a container (pid \(peer.pid))")
        }
        if peer.uid == 0 || isWorkspaceOwner(peer.uid) || isInGroup(peer.uid, peer.gid) { return nil }
        return problem("uid \(peer.uid) is neither root, nor a workspace owner, nor in the group samd")
    }

    private func problem(_ detail: String) -> ProblemDetails {
        ProblemDetails(
            "forbidden", status: 403, title: "Not allowed", detail: detail,
            hint: "ask as root, as a workspace owner (workspace.owners), or as a member of the group samd")
    }
}

extension Peer {
    /// Reads the peer of a connected unix socket and compares pid namespaces; nil where the kernel tells neither.
    package init?(socket descriptor: Int32) {
        var credentials = ucred()
        var length = socklen_t(MemoryLayout<ucred>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0 else { return nil }
        self.init(credentials)
    }

    init(_ credentials: ucred) {
        let own = Self.namespace(of: "self")
        // A pid of 0 means: not visible from this namespace. A peer that died meanwhile is not trusted either.
        let isOnHost = credentials.pid > 0 && own != nil && Self.namespace(of: "\(credentials.pid)") == own
        let startTime = (try? ProcFileSystem().startTime(of: credentials.pid)).flatMap { $0 }
        self.init(
            pid: credentials.pid, uid: credentials.uid, gid: credentials.gid, isOnHost: isOnHost,
            startTime: startTime)
    }

    /// The same, read while a pid file descriptor of the peer (SO_PEERPIDFD, Linux 6.5) says that the process is still the one
    /// that connected: a pid that was used again tells about somebody else.
    init(_ credentials: ucred, process descriptor: Int32) {
        self.init(credentials)
        var poll = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard Glibc.poll(&poll, 1, 0) != 0 else { return }
        (isOnHost, startTime) = (false, nil)
    }

    private static func namespace(of process: String) -> String? {
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = readlink("/proc/\(process)/ns/pid", &buffer, buffer.count)
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
    }
}
