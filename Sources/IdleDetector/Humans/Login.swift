/// Somebody who is logged in, as logind or utmp(5) tell; texts are fit to be shown.
package struct Login: Sendable, Equatable {
    /// Bytes of a text that are kept.
    package static let textLimitBytes = 96

    /// Stable for as long as the login lasts.
    package var id: String
    /// Logind's name of its session, if logind knows it.
    package var session: String?
    /// The process that wrote the record, or made the session; utmp alone tells.
    package var pid: Int32?
    package var user: String?
    package var uid: UInt32?
    /// `pts/3`, `tty1`.
    package var tty: String?
    /// From where; nil: from the machine itself.
    package var remoteHost: String?

    /// What logind's texts say; nil for what is no user's login: greeters, managers, sessions that are closing.
    ///
    /// - Parameter tty: sshd's sessions name `ssh` or nothing, until they have a terminal.
    package init?(
        session: String, uid: UInt32?, className: String?, state: String?, tty: String?, remoteHost: String?
    ) {
        // `user-early`, `user-incomplete` and the like are users' too.
        guard let uid, className?.hasPrefix("user") ?? true, state != "closing" else { return nil }
        let name = HostileText.line(session, limitBytes: Self.textLimitBytes)
        self.init(
            id: "logind:\(name)", session: name, uid: uid, tty: tty.flatMap { Self.shown(Array($0.utf8)) },
            remoteHost: remoteHost.flatMap { Self.shown(Array($0.utf8)) })
    }

    init(
        id: String, session: String? = nil, pid: Int32? = nil, user: String? = nil, uid: UInt32? = nil,
        tty: String?, remoteHost: String?
    ) {
        self.id = id
        self.session = session
        self.pid = pid
        self.user = user
        self.uid = uid
        self.tty = tty
        self.remoteHost = remoteHost
    }

    /// The text as one short line; nil if it is empty.
    static func shown(_ bytes: some Collection<UInt8>) -> String? {
        bytes.isEmpty ? nil : HostileText.line(bytes, limitBytes: textLimitBytes)
    }
}
