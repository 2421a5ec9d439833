/// What one line of a transcript says about planned work.
struct WakeUpLine {
    private static let textLimitBytes = 256
    /// Calls, jobs or ids of one line.
    private static let itemLimit = 128

    /// A call of a tool.
    struct Call {
        var name: String
        var id: String
        var cron: String?
        var job: String?
    }

    /// A tool's answer.
    struct Result {
        var isObject = false
        var id: String?
        var isRecurring: Bool?
        var isDurable: Bool?
        var nextFireAt: Int64?
        var maxAge: Int64?
        var scheduledFor: Int64?
        var endedLoop = false
    }

    /// Milliseconds since 1970.
    var time: Int64 = 0
    var isSidechain = false
    var calls: [Call] = []
    /// The call whose answer it is.
    var resultOf: String?
    var result = Result()
    /// The job that fires.
    var fired: String?
    var isLoop = false
    /// Whether it is a note of what is planned: jobs, those that ended, and the loop's next turn, which it never
    /// leaves out.
    var isNote = false
    var carried: [ScheduledWakeUps.Job] = []
    var ended: [String] = []
    var carriedLoop: Int64?

    init(_ text: [UInt8], in range: Range<Int>) throws(MalformedJSON) {
        var reader = JSONReader(text, in: range)
        var line = WakeUpLine()
        var subtype: String?
        var taskID: String?
        try reader.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
            switch name {
            case "timestamp":
                line.time = try value.string(limitBytes: 32).flatMap { WallTime.milliseconds($0) } ?? 0
            case "isSidechain": line.isSidechain = try value.boolean() ?? false
            case "subtype": subtype = try Self.text(&value)
            case "taskId": taskID = try Self.text(&value)
            case "taskKind": line.isLoop = try Self.text(&value) == "loop"
            case "message": try line.message(&value)
            case "toolUseResult": line.result = try Self.result(&value)
            case "attachment": try line.attachment(&value)
            default: break
            }
        }
        if subtype == "scheduled_task_fire" { line.fired = taskID }
        self = line
    }

    private init() {}

    private mutating func message(_ value: inout JSONReader) throws(MalformedJSON) {
        var found: [Call] = []
        var resultOf: String?
        try value.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
            guard name == "content", try value.peek() == UInt8(ascii: "[") else { return }
            try value.elements { (block: inout JSONReader) throws(MalformedJSON) in
                var call = Call(name: "", id: "")
                try block.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
                    switch name {
                    case "name": call.name = try Self.text(&value) ?? ""
                    case "id": call.id = try Self.text(&value) ?? ""
                    case "tool_use_id": resultOf = try Self.text(&value)
                    case "input":
                        try value.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
                            switch name {
                            case "cron": call.cron = try Self.text(&value)
                            case "id": call.job = try Self.text(&value)
                            default: break
                            }
                        }
                    default: break
                    }
                }
                if !call.name.isEmpty, !call.id.isEmpty, found.count < Self.itemLimit { found.append(call) }
            }
        }
        calls = found
        self.resultOf = resultOf
    }

    private static func result(_ value: inout JSONReader) throws(MalformedJSON) -> Result {
        var result = Result()
        let isObject = try value.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
            switch name {
            case "id": result.id = try text(&value)
            case "recurring": result.isRecurring = try value.boolean()
            case "durable": result.isDurable = try value.boolean()
            case "nextFireAt": result.nextFireAt = try time(&value)
            case "maxAgeMs": result.maxAge = try time(&value)
            case "scheduledFor": result.scheduledFor = try time(&value)
            case "endedLoopWakeup": result.endedLoop = try value.boolean() ?? false
            default: break
            }
        }
        result.isObject = isObject
        return result
    }

    private mutating func attachment(_ value: inout JSONReader) throws(MalformedJSON) {
        var type: String?
        var jobs: [ScheduledWakeUps.Job] = []
        var ended: [String] = []
        var loop: Int64?
        try value.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
            switch name {
            case "type": type = try Self.text(&value)
            case "tasks", "otherArmed":
                try value.elements { (element: inout JSONReader) throws(MalformedJSON) in
                    if let job = try ScheduledWakeUps.Job(reading: &element), jobs.count < Self.itemLimit {
                        jobs.append(job)
                    }
                }
            case "ended":
                try value.elements { (element: inout JSONReader) throws(MalformedJSON) in
                    if let id = try Self.text(&element), ended.count < Self.itemLimit { ended.append(id) }
                }
            case "wakeup":
                try value.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
                    if name == "scheduledFor" { loop = try Self.time(&value) }
                }
            default: break
            }
        }
        guard type == "session_cron_carry" else { return }
        isNote = true
        carried = jobs
        self.ended = ended
        carriedLoop = loop
    }

    private static func text(_ value: inout JSONReader) throws(MalformedJSON) -> String? {
        try value.string(limitBytes: textLimitBytes)
    }

    /// Milliseconds that can be added to each other.
    fileprivate static func time(_ value: inout JSONReader) throws(MalformedJSON) -> Int64? {
        try value.integer().flatMap { (0...WallTime.limit).contains($0) ? $0 : nil }
    }
}

extension ScheduledWakeUps.Job {
    /// Reads a job as `scheduled_tasks.json` and compactions write it; nil for something else.
    init?(reading value: inout JSONReader) throws(MalformedJSON) {
        var id: String?
        var cron: String?
        var created: Int64?
        var last: Int64?
        var age: Int64?
        var isRecurring = false
        var isPermanent = false
        try value.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
            switch name {
            case "id": id = try value.string(limitBytes: 64)
            case "cron": cron = try value.string(limitBytes: CronExpression.limitBytes)
            case "createdAt": created = try WakeUpLine.time(&value)
            case "lastFiredAt": last = try WakeUpLine.time(&value)
            case "maxAgeMs": age = try WakeUpLine.time(&value)
            case "recurring": isRecurring = try value.boolean() ?? false
            case "permanent": isPermanent = try value.boolean() ?? false
            default: break
            }
        }
        guard let id, let cron, let created else { return nil }
        self.init(
            id: id, cron: cron, createdAt: created, isRecurring: isRecurring, lastFiredAt: last,
            maxAge: isPermanent ? WallTime.limit : age)
    }
}
