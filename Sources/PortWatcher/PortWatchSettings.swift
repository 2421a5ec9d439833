/// The times and places of the port watcher.
package struct PortWatchSettings: Sendable, Equatable {
    /// Whether the kernel's events may be used.
    package enum Events: Sendable, Equatable {
        /// Kernel events where they can be had, else polling.
        case automatic
        /// Polling only.
        case polling
    }

    /// What follows a change within this time is told in one change; also the least time between two scans
    /// that kernel events ask for.
    package var settleWindow: Duration = .milliseconds(20)
    /// A port is withdrawn once it has been absent for this long, so that a restarting server keeps its URL.
    package var removalDelay: Duration = .seconds(3)
    /// How long an absent port is kept at the most when its server is likely to come back.
    package var restartDelay: Duration = .seconds(30)
    /// Polling: time between scans within `activePeriod` of the last change.
    package var activePollInterval: Duration = .seconds(1)
    /// Polling: time between scans when nothing changed for `activePeriod`.
    package var quietPollInterval: Duration = .seconds(5)
    /// How long after a change polling stays fast.
    package var activePeriod: Duration = .seconds(120)
    /// Time between scans that no event asked for; also how often the owners of known ports are looked up
    /// again.
    package var reconcileInterval: Duration = .seconds(15)
    /// After a change: when the owners of all listeners are looked up again. Many a socket is handed on right after listen(2): podman
    /// gives a published port to conmon, servers become daemons.
    package var ownersCheckDelay: Duration = .seconds(2)
    /// Polling: time between attempts to get kernel events after all.
    package var reopenInterval: Duration = .seconds(60)
    /// Whether the kernel's events may be used.
    package var events: Events = .automatic
    /// Where tracefs is mounted.
    package var tracefsRoot = "/sys/kernel/tracing"
    /// The name of samd's own tracefs instance; one per daemon of a machine.
    package var tracefsInstance = "samd"

    /// Where sysfs is mounted.
    package var sysfsRoot = "/sys"
    /// Where docker keeps its files about containers.
    package var dockerRoot = "/var/lib/docker"

    /// The defaults.
    package init() {}
}
