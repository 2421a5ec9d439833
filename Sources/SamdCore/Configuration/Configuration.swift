package import CaddyConfig
package import IdleDetector
import ProcFS

/// Everything an operator can decide, with its defaults; `ConfigurationSchema` says how each value is written in TOML.
package struct Configuration: Sendable, Equatable {
    /// Where the daemon keeps its things and how it watches itself.
    package struct Daemon: Sendable, Equatable {
        package var stateDirectory = "/var/lib/samd"
        package var runtimeDirectory = "/run/samd"
        package var socket = "/run/samd/samd.sock"
        package var stallLimit: Duration = .seconds(20)
        package var logLevel = LogLevel.info
    }

    /// Whose processes and which folders belong to the workspace.
    package struct Workspace: Sendable, Equatable {
        package var owners: [WorkspaceOwner] = []
        package var containers = true
        package var folders = IdleDefaults.folders
    }

    /// Which listening ports are offered, and how changes are noticed.
    package struct Ports: Sendable, Equatable {
        package var min: UInt16 = 1024
        package var ignore: [UInt16] = []
        package var deny: [UInt16] = Ports.defaultDeny
        package var allowEphemeral: [UInt16] = []
        package var limit = 100
        package var allowPublic = true
        package var events = EventSource.auto
        package var tracefs = "/sys/kernel/tracing"
        package var tracefsInstance = "samd"

        /// Databases and control doors: they speak no HTTP, or whoever reaches them owns the machine.
        package static let defaultDeny: [UInt16] = [
            1433, 1521, 2019, 2049, 2375, 2376, 2379, 2380, 3306, 5432, 5433, 5672, 6379, 6443, 9042, 9092,
            9222,
            9229, 10250, 11211, 27017,
        ]
    }

    /// How published ports are named.
    package struct Routes: Sendable, Equatable {
        package var domain = "localhost"
        package var vm = ""
        package var pattern = "{port}--{vm}.{domain}"
        package var aliases: [String: UInt16] = [:]
        package var user = "dev"
    }

    /// Where Caddy is and what it listens on for us.
    package struct Caddy: Sendable, Equatable {
        package var admin = CaddyAdminEndpoint.unix(path: "/run/caddy/admin.sock")
        package var listen = [ListenAddress(host: "127.0.0.1", port: 8080)]
        package var tls = TLSMode.off
        package var certificate = ""
        package var key = ""
        package var behindProxy = false
        package var trustedProxies = ["127.0.0.0/8", "::1/128"]
        package var accessLog = true
    }

    /// When the machine counts as unused.
    package struct Idle: Sendable, Equatable {
        package var enabled = true
        /// What the policy goes by.
        package var policy = IdleSettings()
        /// The machine counts as used for so long after it booted.
        package var bootGrace: Duration = .seconds(600)
        package var filesExclude = IdleDefaults.filesExclude
        /// Kernel names of further programs that are never jobs.
        package var ignoreProcesses: [String] = []
        /// Executables of further coding agents.
        package var agents: [String] = []
        /// Percent of one core from which a process makes progress.
        package var progressCPU = 3
        /// MiB read and written per minute from which it does.
        package var progressIO = 4
    }

    /// Who is told what.
    package struct Notify: Sendable, Equatable {
        /// A URL, or the absolute path of a file that holds it; empty: none. A secret either way.
        package var webhook = ""
        /// A program and its arguments; empty: none.
        package var command: [String] = []
        package var events: [NotificationKind] = [.waiting, .warned, .interrupted, .alarm]
    }

    package var daemon = Daemon()
    package var workspace = Workspace()
    package var ports = Ports()
    package var routes = Routes()
    package var caddy = Caddy()
    package var idle = Idle()
    package var notify = Notify()

    /// The defaults.
    package init() {}

    /// Where the sockets are through which Caddy reaches into network namespaces.
    package var relayFolder: String { "\(daemon.runtimeDirectory)/relay" }
    /// What led to the last verdicts, in the form of a recording.
    package var idleTrace: String { "\(daemon.stateDirectory)/idle-trace.jsonl" }
    /// Where Caddy writes its access log; nil when it is turned off.
    package var accessLogSocket: String? {
        caddy.accessLog ? "\(daemon.runtimeDirectory)/access.sock" : nil
    }
}

/// The least severe level that is logged.
package enum LogLevel: String, Sendable, CaseIterable {
    case debug, info, notice, warning, error
}

/// Where the certificate of published ports comes from.
package enum TLSMode: String, Sendable, CaseIterable {
    /// Clear text: for loopback, or behind a proxy that ends TLS.
    case off
    /// Caddy's own certificate authority.
    case `internal`
    /// `caddy.certificate` and `caddy.key`.
    case files
}

/// How changes of listening ports are noticed.
package enum EventSource: String, Sendable, CaseIterable {
    /// Kernel events where the machine allows them, else polling.
    case auto
    /// Polling only.
    case polling
}

/// A user whose listeners are published.
package enum WorkspaceOwner: Sendable, Hashable, CustomStringConvertible {
    /// By login name, looked up again whenever ports change, because the user may be created later.
    case name(String)
    /// By numeric user id.
    case uid(UInt32)

    package var description: String {
        switch self {
        case .name(let name): name
        case .uid(let uid): String(uid)
        }
    }
}

/// An address that Caddy listens on: IPv4 or IPv6 literal, or empty for all addresses.
package struct ListenAddress: Sendable, Equatable, CustomStringConvertible {
    package var host: String
    package var port: UInt16

    package init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Whether only this machine reaches it.
    package var isLoopback: Bool { host == "localhost" || IPAddress(host)?.isLoopback == true }
}
