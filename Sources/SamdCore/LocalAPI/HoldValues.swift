// The values of the local API about holds; docs/api.yaml describes them. Fields are added, never renamed or removed.

import IdleDetector

/// `GET /v1/holds`.
package struct HoldList: Codable, Sendable, Equatable {
    package var holds: [HoldReport]
}

/// One hold.
package struct HoldReport: Codable, Sendable, Equatable {
    /// The process that it ends with.
    package struct Process: Codable, Sendable, Equatable {
        package var pid: Int32
    }

    package var id: String
    /// Empty when none was given.
    package var reason: String
    package var by: Holder
    /// RFC 3339.
    package var takenAt: String
    /// When it ends at the latest, RFC 3339.
    package var until: String
    /// Seconds until then, rounded up.
    package var leftSeconds: Int64
    package var process: Process?

    package init(_ hold: Hold, now: Present) {
        id = hold.id
        reason = hold.reason
        by = hold.by
        takenAt = hold.takenAt
        until = Timestamp.text(now.wall(at: hold.deadline))
        leftSeconds = max(0, ((hold.deadline - now.moment).wholeMilliseconds + 999) / 1000)
        process = hold.process.map { Process(pid: $0.pid) }
    }
}
