/// What `IdlePolicy` goes by; each is a setting of the section `[idle]`, with its default here.
package struct IdleSettings: Sendable, Equatable, Codable {
    /// Without any activity for so long, the machine is idle.
    package var threshold: Duration = .seconds(30 * 60)
    /// The same while a Claude session asks its user something.
    package var waitingThreshold: Duration = .seconds(3 * 3600)
    /// So long before it becomes idle, that is announced.
    package var warnBefore: Duration = .seconds(5 * 60)

    /// A busy Claude holds so long without progress; then an alarm, and the machine may only end with a disk image.
    package var busyCap: Duration = .seconds(12 * 3600)
    /// Claude's background tasks, tools and orphans hold so long without progress.
    package var silentCap: Duration = .seconds(2 * 3600)
    /// A session of which nothing can be told holds; after so long that is an alarm.
    package var unknownAlarm: Duration = .seconds(6 * 3600)
    /// A scheduled wake-up holds when it is no further away.
    package var wakeUpHorizon: Duration = .seconds(24 * 3600)
    /// A wake-up holds so long past its time, for the session to begin.
    package var wakeUpGrace: Duration = .seconds(5 * 60)
    /// Wake-ups hold no longer than this after the last human input.
    package var wakeUpCap: Duration = .seconds(72 * 3600)
    /// Jobs and other agents hold so long after their last progress.
    package var progressWindow: Duration = .seconds(5 * 60)
    /// Holds of users end at the latest so long after the last human input.
    package var holdCap: Duration = .seconds(24 * 3600)
    /// samd's own work (backup, restore) holds so long without progress.
    package var operationCap: Duration = .seconds(2 * 3600)
    /// After a reboot in the middle of work the machine is kept so long.
    package var interruptionGrant: Duration = .seconds(2 * 3600)
    /// So many times in a row.
    package var interruptionLimit: Int = 2

    /// Weak touches extend at most so long past the last strong one.
    package var weakLimit: Duration = .seconds(2 * 3600)
    /// Input that never pauses for this long …
    package var steadyPause: Duration = .seconds(5 * 60)
    /// … over this long is a program's, and weak.
    package var steadyLimit: Duration = .seconds(3600)
    /// Changed files alone keep the machine so long past the last other activity.
    package var filesCap: Duration = .seconds(12 * 3600)

    /// Work that goes on so long after the last human input is an alarm; it still holds.
    package var unattendedAlarm: Duration = .seconds(24 * 3600)
    /// A probe that cannot look for so long makes the verdict uncertain, and so active.
    package var blindGrace: Duration = .seconds(2 * 60)
    /// … and after so long that is an alarm.
    package var blindAlarm: Duration = .seconds(15 * 60)
    /// A standing alarm is repeated so often.
    package var alarmRepeat: Duration = .seconds(3600)

    package init() {}
}
