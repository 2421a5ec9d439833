import CSystemd
import Glibc

/// What a daemon tells the service manager (sd_notify(3)).
///
/// Without a service manager (`NOTIFY_SOCKET` unset) every call is a no-op, so that callers need no second path.
package struct ServiceNotifier: Sendable {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` from the environment at each call.
    package init() {}

    /// Whether a service manager listens.
    package var isSupervised: Bool { getenv("NOTIFY_SOCKET") != nil }

    /// How often the manager expects a sign of life, or nil where no watchdog is set (sd_watchdog_enabled(3)).
    package var watchdogTimeout: Duration? {
        var microseconds: UInt64 = 0
        guard sd_watchdog_enabled(0, &microseconds) > 0 else { return nil }
        return .microseconds(Int64(clamping: microseconds))
    }

    /// The daemon does its job from now on; `status` is the line that `systemctl status` shows.
    package func ready(status: String) { send("READY=1\nSTATUS=\(Self.oneLine(status))") }

    /// Replaces the status line.
    package func status(_ text: String) { send("STATUS=\(Self.oneLine(text))") }

    /// The daemon is alive: every service made progress.
    package func watchdogPing() { send("WATCHDOG=1") }

    /// The daemon reads its configuration again; `ready(status:)` ends that.
    package func reloading() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let microseconds = UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1000
        send("RELOADING=1\nMONOTONIC_USEC=\(microseconds)")
    }

    /// The daemon is on its way out.
    package func stopping(status: String) { send("STOPPING=1\nSTATUS=\(Self.oneLine(status))") }

    private func send(_ state: String) { _ = sd_notify(0, state) }

    /// A line break would begin another assignment.
    static func oneLine(_ text: String) -> String {
        String(text.map { $0.isNewline ? " " : $0 })
    }
}
