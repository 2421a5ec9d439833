package import IdleDetector

extension ConfigurationSchema {
    /// The section `[idle]`.
    static let idle: [Setting] = idleGeneral + idlePolicy + idleEvidence

    /// Those that `IdlePolicy` goes by: the fields of `IdleSettings`.
    static let idlePolicy: [Setting] = idleThresholds + idleCaps + idleTouches + idleAlarms

    private static let idleGeneral: [Setting] = [
        Setting(
            "idle.enabled", \.idle.enabled, .boolean, reloadable: false,
            "Whether samd looks at all whether the machine is used."),
        Setting(
            "idle.boot_grace", \.idle.bootGrace, .duration(from: .zero, to: .hours(24)), reloadable: false,
            "The machine counts as used for so long after it booted."),
    ]

    private static let idleThresholds: [Setting] = [
        Setting(
            "idle.threshold", \.idle.policy.threshold, .duration(from: .minutes(1), to: .days(30)),
            "Without any activity for so long, the machine is idle."),
        Setting(
            "idle.waiting_threshold", \.idle.policy.waitingThreshold,
            .duration(from: .minutes(1), to: .days(30)),
            "The same while a Claude session asks its user something."),
        Setting(
            "idle.warn_before", \.idle.policy.warnBefore, .duration(from: .seconds(10), to: .hours(24)),
            "So long before the machine becomes idle, that is announced."),
    ]

    private static let idleCaps: [Setting] = [
        Setting(
            "idle.busy_cap", \.idle.policy.busyCap, .duration(from: .minutes(10), to: .days(30)),
            "A Claude in the middle of a turn counts so long without progress of its own or of a tool of its. Then an alarm is raised, and an image of the disk has to be kept."
        ),
        Setting(
            "idle.silent_cap", \.idle.policy.silentCap, .duration(from: .minutes(1), to: .days(30)),
            "Claude's background tasks, its tools, and tools that outlived their Claude count so long without progress."
        ),
        Setting(
            "idle.wake_up_horizon", \.idle.policy.wakeUpHorizon, .duration(from: .zero, to: .days(7)),
            "A session that will go on by itself counts when that is no further away."),
        Setting(
            "idle.wake_up_grace", \.idle.policy.wakeUpGrace, .duration(from: .seconds(10), to: .hours(1)),
            "It counts so long past its time, for the session to begin."),
        Setting(
            "idle.wake_up_cap", \.idle.policy.wakeUpCap, .duration(from: .hours(1), to: .days(90)),
            "Sessions that go on by themselves count no longer than this after the last human input."),
        Setting(
            "idle.progress_window", \.idle.policy.progressWindow,
            .duration(from: .minutes(1), to: .hours(24)),
            "Jobs and other agents count so long after their last progress."),
        Setting(
            "idle.hold_cap", \.idle.policy.holdCap, .duration(from: .minutes(1), to: .days(30)),
            "Holds of users end at the latest so long after the last human input."),
        Setting(
            "idle.operation_cap", \.idle.policy.operationCap, .duration(from: .minutes(1), to: .hours(24)),
            "Work of samd itself counts so long without progress."),
        Setting(
            "idle.interruption_grant", \.idle.policy.interruptionGrant,
            .duration(from: .zero, to: .hours(24)),
            "After a reboot in the middle of work the machine counts as used for so long."),
        Setting(
            "idle.interruption_limit", \.idle.policy.interruptionLimit, .integer(0...100),
            "So many times in a row, until a human does something."),
    ]

    private static let idleTouches: [Setting] = [
        Setting(
            "idle.weak_limit", \.idle.policy.weakLimit, .duration(from: .zero, to: .days(7)),
            "What may be a program's doing (background requests, transfers over SSH) counts at most so long past the last real activity."
        ),
        Setting(
            "idle.steady_pause", \.idle.policy.steadyPause, .duration(from: .seconds(30), to: .hours(1)),
            "Input or changes of files that never pause for so long …"),
        Setting(
            "idle.steady_limit", \.idle.policy.steadyLimit, .duration(from: .minutes(1), to: .hours(24)),
            "… over this long are a program's, and count as background requests do."),
        Setting(
            "idle.files_cap", \.idle.policy.filesCap, .duration(from: .minutes(1), to: .days(30)),
            "Changed files alone count no longer than this after the last other activity."),
    ]

    private static let idleAlarms: [Setting] = [
        Setting(
            "idle.unknown_alarm", \.idle.policy.unknownAlarm, .duration(from: .minutes(1), to: .days(30)),
            "A Claude of which nothing can be told counts; after so long that is an alarm."),
        Setting(
            "idle.unattended_alarm", \.idle.policy.unattendedAlarm,
            .duration(from: .hours(1), to: .days(90)),
            "Work that goes on so long after the last human input is an alarm. It still counts."),
        Setting(
            "idle.blind_grace", \.idle.policy.blindGrace, .duration(from: .seconds(10), to: .hours(1)),
            "When samd could not look for so long, the machine counts as used until it can."),
        Setting(
            "idle.blind_alarm", \.idle.policy.blindAlarm, .duration(from: .minutes(1), to: .hours(24)),
            "When samd could not look for so long, that is an alarm."),
        Setting(
            "idle.alarm_repeat", \.idle.policy.alarmRepeat, .duration(from: .minutes(1), to: .days(7)),
            "An alarm that stands is repeated so often."),
    ]

    private static let idleEvidence: [Setting] = [
        Setting(
            "idle.files_exclude", \.idle.filesExclude,
            .list(of: .namePattern, limit: 256, example: "[\".git\", \"*.log\"]"), reloadable: false,
            "Names of files and folders whose changes do not count; `*` stands for any characters. Setting it replaces the default list."
        ),
        Setting(
            "idle.ignore_processes", \.idle.ignoreProcesses,
            .list(of: .processName, limit: 256, example: "[\"ssh-agent\"]"), reloadable: false,
            "Programs that are never a job, by their kernel names (the first 15 bytes; `ps -o comm`), in addition to those that samd knows: login shells, multiplexers, agents of the desktop and the like."
        ),
        Setting(
            "idle.agents", \.idle.agents, .list(of: .programName, limit: 64, example: "[\"my-agent\"]"),
            reloadable: false,
            "Names of executables of further coding agents, in addition to those that samd knows."),
        Setting(
            "idle.progress_cpu", \.idle.progressCPU, .integer(1...100), reloadable: false,
            "A job makes progress when it uses so many percent of one core …"),
        Setting(
            "idle.progress_io", \.idle.progressIO, .integer(1...10_000), reloadable: false,
            "… or reads and writes so many MiB a minute."),
    ]
}

extension Configuration {
    /// Durations of `[idle]` that are right one by one and wrong together.
    func idleProblems() -> [ConfigurationProblem] {
        let policy = idle.policy
        // Key, what it is, key that bounds it, what that is, and whether both may be equal.
        let atLeast: [(String, Duration, String, Duration, Bool)] = [
            ("idle.threshold", policy.threshold, "idle.warn_before", policy.warnBefore, false),
            ("idle.waiting_threshold", policy.waitingThreshold, "idle.threshold", policy.threshold, true),
            ("idle.blind_alarm", policy.blindAlarm, "idle.blind_grace", policy.blindGrace, true),
            ("idle.steady_limit", policy.steadyLimit, "idle.steady_pause", policy.steadyPause, false),
            ("idle.busy_cap", policy.busyCap, "idle.silent_cap", policy.silentCap, true),
        ]
        return atLeast.compactMap { key, value, other, bound, mayBeEqual in
            if value > bound || mayBeEqual && value == bound { return nil }
            let relation = mayBeEqual ? "shorter than" : "not longer than"
            return ConfigurationProblem(
                line: nil, key: key,
                problem: "is \(DurationText.render(value)), which is \(relation) \(other) "
                    + "(\(DurationText.render(bound)))",
                accepted: "a longer \(key), or a shorter \(other)")
        }
    }

}

/// The settings of the policy by name, as texts: for recordings, `GET /v1/idle` and `samd idle replay --set`.
package enum IdleSettingTexts {
    /// `threshold` → `30m` and so on, without the section's name.
    static func texts(of policy: IdleSettings) -> [String: String] {
        var configuration = Configuration()
        configuration.idle.policy = policy
        return Dictionary(
            uniqueKeysWithValues: ConfigurationSchema.idlePolicy.map { setting in
                (name(setting), setting.literal(configuration).filter { $0 != "\"" })
            })
    }

    /// Changes settings by their names, with or without `idle.` before them.
    ///
    /// - Throws: `ConfigurationError`, also when the whole contradicts itself; `file` stands in it for where the texts are from.
    package static func apply(
        _ texts: [(name: String, value: String)], to policy: IdleSettings, file: String
    ) throws(ConfigurationError) -> IdleSettings {
        var configuration = Configuration()
        configuration.idle.policy = policy
        var problems: [ConfigurationProblem] = []
        for (text, value) in texts {
            let short = text.hasPrefix("idle.") ? String(text.dropFirst("idle.".count)) : text
            guard let setting = ConfigurationSchema.idlePolicy.first(where: { name($0) == short }) else {
                problems.append(unknown(short))
                continue
            }
            let parsed = Int(value).map { ConfigurationValue.integer($0) } ?? .string(value)
            if !setting.apply(parsed, &configuration) {
                problems.append(
                    ConfigurationProblem(
                        line: nil, key: setting.key, problem: "does not take \(value.prefix(60))",
                        accepted: setting.accepted))
            }
        }
        if problems.isEmpty { problems = configuration.idleProblems() }
        guard problems.isEmpty else { throw ConfigurationError(file: file, problems: problems) }
        return configuration.idle.policy
    }

    private static func unknown(_ text: String) -> ConfigurationProblem {
        let names = ConfigurationSchema.idlePolicy.map(name)
        let close = EditDistance.closest(to: text, among: names, within: 3)
        return ConfigurationProblem(
            line: nil, key: "idle.\(text.prefix(60))", problem: "is no setting that a verdict goes by",
            accepted: close.map { "idle.\($0), if that was meant" }
                ?? "one of \(names.joined(separator: ", "))")
    }

    private static func name(_ setting: Setting) -> String { String(setting.key.dropFirst("idle.".count)) }
}

extension Duration {
    static func minutes(_ count: Int) -> Duration { .seconds(count * 60) }
    static func hours(_ count: Int) -> Duration { .seconds(count * 3600) }
    static func days(_ count: Int) -> Duration { .seconds(count * 86_400) }
}

extension SettingForm where Value == String {
    /// A file's name, in which `*` stands for any characters.
    static var namePattern: Self {
        text("a name without '/', in which * stands for any characters") { name in
            !name.isEmpty && name.utf8.count <= 255 && !name.contains("/") && !name.contains("\0")
        }
    }

    /// The kernel's name of a process (TASK_COMM_LEN, proc_pid_comm(5)).
    static var processName: Self {
        text("a program's name of at most 15 bytes") { !$0.isEmpty && $0.utf8.count <= 15 }
    }

    static var programName: Self {
        text("an executable's name without its folder") { name in
            !name.isEmpty && name.utf8.count <= 255 && !name.contains("/") && !name.contains("\0")
        }
    }
}
