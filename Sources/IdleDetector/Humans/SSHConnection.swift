/// What the command line of an sshd's process says it does: pure. OpenSSH writes there what each of its processes is for, with
/// the name `sshd` up to 9.7 and `sshd-session` since; dropbear and others say nothing.
package enum SSHConnection {
    /// Names (comm) of processes that may serve a connection.
    package static func mayServe(_ name: String) -> Bool { name == "sshd" || name == "sshd-session" }

    /// An authenticated connection.
    package struct Session: Equatable, Sendable {
        package var user: String
        /// Whether a shell, a command or a subsystem was asked for; forwarding alone needs none.
        package var isOpen: Bool
        package var tty: String?
    }

    /// What an authenticated connection is for. Nil for the listener, for monitors
    /// (`[priv]`), and for whoever is still at the door (`[accepted]`, `[net]`, `[preauth]`, `[pam]`).
    ///
    /// - Parameter title: the first argument.
    package static func session(title: String) -> Session? {
        guard let colon = title.firstIndex(of: ":"), mayServe(String(title[..<colon])) else { return nil }
        let rest = title[title.index(after: colon)...].drop { $0 == " " }
        // Paths begin with a slash (`/usr/sbin/sshd -D [listener] 0 of 10-100 startups`), roles are in brackets.
        guard let first = rest.first, first != "/", !rest.contains("["), !rest.contains(" ") else {
            return nil
        }
        guard let at = rest.lastIndex(of: "@") else { return Session(user: String(rest), isOpen: false) }
        let ttys = rest[rest.index(after: at)...]
        // `notty` for a command; several terminals of one connection are divided by commas; `internal-sftp` is one's name.
        let tty = ttys.split(separator: ",").first { $0.hasPrefix("pts/") || $0.hasPrefix("tty") }
        return rest[..<at].isEmpty
            ? nil : Session(user: String(rest[..<at]), isOpen: true, tty: tty.map { String($0) })
    }

    /// Whether a process carries files for a client at the other end of its standard streams.
    package static func transfers(name: String, arguments: [String]) -> Bool {
        switch name {
        case "sftp-server": true
        case "rsync": arguments.contains("--server")
        // Remote ends only: to, from.
        case "scp": arguments.contains("-t") || arguments.contains("-f")
        default: false
        }
    }
}

/// Tells a flow of bytes from chatter.
struct FlowMeter: Sendable, Equatable {
    /// So many bytes …
    static let bytes: UInt64 = 4 << 20
    /// … within this make a flow.
    static let window: Duration = .seconds(60)

    private var start: Moment
    private var startCount: UInt64

    /// - Parameter count: all bytes so far.
    init(count: UInt64, at now: Moment) {
        start = now
        startCount = count
    }

    /// Whether bytes flowed up to now.
    mutating func advance(to count: UInt64, at now: Moment) -> Bool {
        let flowed = count >= startCount && count - startCount >= Self.bytes
        // A look that comes late sees more; then it is the mean that counts.
        let windows = max(
            1, UInt64(clamping: (now - start).components.seconds / Self.window.components.seconds))
        let isFlow = flowed && (count - startCount) / windows >= Self.bytes
        if isFlow || now - start >= Self.window || count < startCount {
            self = FlowMeter(count: count, at: now)
        }
        return isFlow
    }
}
