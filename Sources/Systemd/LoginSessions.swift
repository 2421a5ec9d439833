import CSystemd
import Glibc

/// One login session as logind knows it (sd-login(3)); texts as they are, each at most `LoginSessions.textLimitBytes` bytes.
package struct LoginSession: Sendable, Equatable {
    /// Logind's name of it: the scope of its processes is called `session-ID.scope`.
    package var id: String
    package var uid: UInt32?
    /// `user`, `greeter`, `lock-screen`, `background`, `manager` …
    package var className: String?
    /// `active`, `online`, `closing`.
    package var state: String?
    /// The PAM service: `sshd`, `login` …
    package var service: String?
    /// `pts/3`, `tty1`; sshd opens its sessions before it makes a terminal, and says `ssh` or nothing.
    package var tty: String?
    /// An address, or a name that the host's resolver gave.
    package var remoteHost: String?
}

/// Asks libsystemd for the login sessions.
package enum LoginSessions {
    /// Sessions that are told about; the rest is left out.
    package static let sessionLimit = 256
    /// Bytes of a text that are kept.
    package static let textLimitBytes = 256

    /// The sessions of now; empty where no logind runs. Reads a few files of /run each, and asks no other process.
    ///
    /// - Throws: `LoginSessionsError` when they cannot be listed.
    package static func current() throws(LoginSessionsError) -> [LoginSession] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_get_sessions(&names)
        // Without logind there is no folder of sessions.
        if count == -ENOENT { return [] }
        guard count >= 0 else { throw LoginSessionsError(errno: -count) }
        defer {
            for index in 0..<Int(count) { free(names?[index]) }
            free(names)
        }
        var sessions: [LoginSession] = []
        for index in 0..<min(Int(count), sessionLimit) {
            guard let name = names?[index] else { break }
            sessions.append(session(name))
        }
        return sessions
    }

    /// A session that ended meanwhile has nothing but its name.
    private static func session(_ name: UnsafeMutablePointer<CChar>) -> LoginSession {
        var uid: uid_t = 0
        let hasUser = sd_session_get_uid(name, &uid) >= 0
        return LoginSession(
            id: copied(name), uid: hasUser ? uid : nil, className: text { sd_session_get_class(name, $0) },
            state: text { sd_session_get_state(name, $0) },
            service: text { sd_session_get_service(name, $0) },
            tty: text { sd_session_get_tty(name, $0) },
            remoteHost: text { sd_session_get_remote_host(name, $0) })
    }

    private static func text(_ ask: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32) -> String?
    {
        var answer: UnsafeMutablePointer<CChar>?
        guard ask(&answer) >= 0, let answer else { return nil }
        defer { free(answer) }
        return copied(answer)
    }

    private static func copied(_ text: UnsafeMutablePointer<CChar>) -> String {
        let length = strnlen(text, textLimitBytes)
        return String(decoding: UnsafeRawBufferPointer(start: text, count: length), as: UTF8.self)
    }
}

/// The login sessions cannot be listed.
package struct LoginSessionsError: Error, Equatable, CustomStringConvertible {
    /// The positive error number.
    package let errno: Int32
    package var description: String {
        "list the login sessions (sd_get_sessions): \(String(cString: strerror(errno))) (\(errno))"
    }
}
