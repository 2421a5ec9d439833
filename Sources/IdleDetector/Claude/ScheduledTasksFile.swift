/// The jobs that a project's sessions keep in `.claude/scheduled_tasks.json`, beyond the end of the session that made
/// them.
///
/// A job is run by the session that made it, or, when that is gone, by the one session that holds the project's lock;
/// without a session in the project nobody runs it.
enum ScheduledTasksFile {
    /// Bytes of the file and of its lock that are read.
    static let limitBytes = 256 << 10
    static let lockLimitBytes = 4096
    /// Jobs of one file.
    static let jobLimit = 128

    /// One job with the session that made it.
    struct Task: Equatable, Sendable {
        var job: ScheduledWakeUps.Job
        var session: String?
    }

    /// The jobs that a session runs.
    static func jobs(
        of sessionID: String, folder: String, in root: borrowing GuardedRoot
    ) -> [ScheduledWakeUps.Job] {
        guard folder.hasPrefix("/"),
            let text = try? root.contents("\(folder)/.claude/scheduled_tasks.json", limitBytes: limitBytes),
            let tasks = try? parse(text), !tasks.isEmpty
        else { return [] }
        let lock = try? root.contents("\(folder)/.claude/scheduled_tasks.lock", limitBytes: lockLimitBytes)
        let isHolder = lock.flatMap { holder($0) } == sessionID
        return tasks.filter { $0.session == sessionID || isHolder }.map(\.job)
    }

    /// Reads the file's text; what is no job is left out.
    static func parse(_ text: [UInt8]) throws(MalformedJSON) -> [Task] {
        var reader = JSONReader(text)
        var tasks: [Task] = []
        try reader.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
            guard name == "tasks" else { return }
            try value.elements { (element: inout JSONReader) throws(MalformedJSON) in
                guard tasks.count < jobLimit else { return }
                var again = element
                guard let job = try ScheduledWakeUps.Job(reading: &element), CronExpression(job.cron) != nil
                else { return }
                var session: String?
                try again.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
                    if name == "createdBySessionId" { session = try value.string(limitBytes: 128) }
                }
                tasks.append(Task(job: job, session: session))
            }
        }
        return tasks
    }

    /// The session that holds the lock.
    static func holder(_ text: [UInt8]) -> String? {
        var reader = JSONReader(text)
        var session: String?
        _ = try? reader.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
            if name == "sessionId" { session = try value.string(limitBytes: 128) }
        }
        return session
    }
}
