import ProcFS
import Synchronization
import Systemd

/// Who is logged in, and from where; shared by the probes, which live on one thread.
package final class LoginDirectory: Sendable {
    /// How old an answer may be.
    static let freshness: Duration = .seconds(10)
    /// Ancestors of a process that are looked at to find its login.
    static let ancestorLimit = 16

    /// What was found out.
    package struct Reading: Sendable, Equatable {
        package var logins: [Login] = []
        /// Why it may not be all.
        package var problem: String?

        package init(logins: [Login] = [], problem: String? = nil) {
            self.logins = logins
            self.problem = problem
        }

        /// The login that a process of the host belongs to, by its control group (`session-ID.scope`) or by the process that
        /// logged in. Control groups of users' making can lie about it, so nothing but texts for people may hang on it.
        package func login(of entry: ProcessEntry, in table: ProcessTable) -> Login? {
            guard !logins.isEmpty, entry.container == nil else { return nil }
            if let session = Self.session(of: entry.cgroup),
                let login = logins.first(where: { $0.session == session })
            {
                return login
            }
            var current = entry
            for _ in 0..<ancestorLimit {
                if let login = logins.first(where: { $0.pid == current.pid }) { return login }
                guard current.parent > 1, let parent = table.entries[current.parent] else { return nil }
                current = parent
            }
            return nil
        }

        /// `5` of `/user.slice/user-1000.slice/session-5.scope`.
        static func session(of cgroup: String) -> String? {
            for part in cgroup.split(separator: "/", maxSplits: 8)
            where part.hasPrefix("session-") && part.hasSuffix(".scope") {
                return String(part.dropFirst(8).dropLast(6))
            }
            return nil
        }
    }

    private let sessions: @Sendable () throws(ProbeFailure) -> [Login]
    private let recordPaths: [String]
    private let latest = Mutex<(at: Moment, reading: Reading)?>(nil)

    /// - Parameters:
    ///   - sessions: asks logind.
    ///   - recordPaths: where utmp may be, which is read where logind knows of nobody: first come, first served.
    package init(
        sessions: @escaping @Sendable () throws(ProbeFailure) -> [Login] = LoginDirectory.askLogind,
        recordPaths: [String] = ["/run/utmp", "/var/run/utmp"]
    ) {
        self.sessions = sessions
        self.recordPaths = recordPaths
    }

    /// The users' logins that logind knows; none where there is no logind.
    package static func askLogind() throws(ProbeFailure) -> [Login] {
        do throws(LoginSessionsError) {
            return try LoginSessions.current().compactMap {
                Login(
                    session: $0.id, uid: $0.uid, className: $0.className, state: $0.state, tty: $0.tty,
                    remoteHost: $0.remoteHost)
            }
        } catch {
            throw ProbeFailure(error.description, hint: "may samd read /run/systemd/sessions?")
        }
    }

    /// Who is logged in now, or was at most `freshness` ago.
    package func reading(at now: Moment) -> Reading {
        latest.withLock { latest in
            if let latest, now < latest.at + Self.freshness, now >= latest.at { return latest.reading }
            let reading = read()
            latest = (now, reading)
            return reading
        }
    }

    private func read() -> Reading {
        var reading = Reading()
        do throws(ProbeFailure) {
            reading.logins = try sessions()
        } catch {
            reading.problem = error.description
        }
        // Where logind runs, utmp has the same people once more.
        guard reading.logins.isEmpty else { return reading }
        for path in recordPaths {
            do throws(ProcFSError) {
                reading.logins = LoginRecords.parse(
                    try ProcFileSystem().file(path, limitBytes: LoginRecords.limitBytes))
                return reading
            } catch {
                // A machine without utmp has logind, or nobody who logs in.
                if error.cause != .notFound { reading.problem = "\(error)" }
            }
        }
        return reading
    }
}
