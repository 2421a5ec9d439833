package import IdleDetector

/// One wish to keep the machine: whose, why, and until when.
package struct Hold: Codable, Sendable, Equatable, Identifiable {
    /// Six letters that nobody takes for a word.
    package var id: String
    /// At most `HoldRequest.reasonLimitBytes`, without control characters; empty when none was given.
    package var reason: String
    package var by: Holder
    /// RFC 3339.
    package var takenAt: String
    /// When it was taken; after a reboot, when samd found it.
    package var since: Moment
    /// When it ends at the latest.
    package var deadline: Moment
    /// It also ends with this process.
    package var process: BoundProcess?

    package init(
        id: String, reason: String, by: Holder, takenAt: String, since: Moment, deadline: Moment,
        process: BoundProcess? = nil
    ) {
        self.id = id
        self.reason = reason
        self.by = by
        self.takenAt = takenAt
        self.since = since
        self.deadline = deadline
        self.process = process
    }
}

/// Who took a hold, or asks for its end: the process at the other end of the socket, as the kernel and /proc tell.
package struct Holder: Codable, Sendable, Equatable {
    package var uid: UInt32
    package var user: String?
    /// As the host counts, also for a container's process.
    package var pid: Int32
    /// The name of the process; it can call itself what it likes.
    package var command: String?
    /// The container that the process lives in; nil on the machine itself.
    package var container: String?
    /// Whether a coding agent is among its ancestors, as far as names tell.
    package var isAgent: Bool?

    package init(
        uid: UInt32, user: String? = nil, pid: Int32, command: String? = nil, container: String? = nil,
        isAgent: Bool? = nil
    ) {
        self.uid = uid
        self.user = user
        self.pid = pid
        self.command = command
        self.container = container
        self.isAgent = isAgent
    }

    /// For people: `dev`, `root in dc1`, `an agent of dev`.
    package var name: String {
        let who = user ?? "uid \(uid)"
        return (isAgent == true ? "an agent of \(who)" : who) + (container.map { " in \($0)" } ?? "")
    }

    /// The name of a container that could not be found out; it may be any.
    static let unknownContainer = "unknown"

    /// Whether both are the same user at the same place: a container's root is not the machine's.
    func isSameUser(as other: Holder) -> Bool {
        uid == other.uid && container == other.container && container != Self.unknownContainer
    }

    /// Whether both share a bound.
    func sharesLimit(with other: Holder) -> Bool { uid == other.uid && container == other.container }
}

/// A process for ever: a pid alone is used again.
package struct BoundProcess: Codable, Sendable, Hashable {
    package var pid: Int32
    /// In clock ticks since boot (proc_pid_stat(5)).
    package var startTime: UInt64

    package init(pid: Int32, startTime: UInt64) {
        self.pid = pid
        self.startTime = startTime
    }
}

/// A hold that is over.
package struct EndedHold: Sendable, Equatable {
    /// Why a hold is over. The raw values appear in events and never change.
    package enum Cause: String, Sendable {
        /// Somebody gave it back.
        case released
        /// Its time is up.
        case expired
        /// Its process is gone.
        case processEnded = "process ended"
    }

    package var hold: Hold
    package var cause: Cause

    package init(hold: Hold, cause: Cause) {
        self.hold = hold
        self.cause = cause
    }
}
