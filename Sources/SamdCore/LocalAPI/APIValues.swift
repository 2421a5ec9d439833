// The values of the local API, version 1; docs/api.yaml describes them. Fields are added, never renamed or removed.

/// `GET /v1/status`.
package struct StatusReport: Codable, Sendable, Equatable {
    /// How changes of listening ports are noticed.
    package struct WakeUp: Codable, Sendable, Equatable {
        /// `kernel events`, `polling` or `starting`.
        package var source: String
        /// Why it polls.
        package var reason: String?
    }
    /// One service of the daemon.
    package struct Service: Codable, Sendable, Equatable {
        package var name: String
        /// `starting`, `ok` or `degraded`.
        package var health: String
        package var detail: String
        package var hint: String?
        /// Seconds since the service last made progress.
        package var sinceProgressSeconds: Double
    }
    /// How many ports there are.
    package struct Counts: Codable, Sendable, Equatable {
        package var published: Int
        /// Decided, and not yet in Caddy.
        package var pending: Int
        package var refused: Int
    }

    package var version: String
    /// `starting` before the first look at ports, `ready`, or `degraded` while some service cannot do its job.
    package var state: String
    package var pid: Int32
    /// RFC 3339.
    package var startedAt: String
    package var bootID: String
    /// This machine's name in URLs.
    package var vm: String
    package var wakeUp: WakeUp
    package var services: [Service]
    package var ports: Counts
    /// Whether the machine is used; absent from a samd that does not look.
    package var idle: IdleSummary?
}

/// `GET /v1/ports`.
package struct PortList: Codable, Sendable, Equatable {
    package var ports: [PortReport]
}

/// One listening port.
package struct PortReport: Codable, Sendable, Equatable {
    /// Whose socket it is.
    package struct Owner: Codable, Sendable, Equatable {
        package var uid: UInt32
        package var user: String?
    }
    /// The process that holds it.
    package struct Process: Codable, Sendable, Equatable {
        package var pid: Int32
        package var command: String
        package var cwd: String?
    }

    /// The container that it belongs to.
    package struct Container: Codable, Sendable, Equatable {
        package var name: String
        /// `docker`, `podman`, `containerd`, `nspawn`, `lxc` or `unknown`.
        package var runtime: String
        package var id: String?
        /// Whether this is the container's port published on the machine itself, rather than one inside.
        package var isForwarded: Bool
    }
    /// What was set by `PUT /v1/ports/{name}`.
    package struct Override: Codable, Sendable, Equatable {
        package var auth: String?
        package var published: Bool?
    }

    package var port: UInt16
    /// How it is called: the number, or number and container.
    package var name: String
    package var address: String
    /// `published`, `pending` (decided, not yet in Caddy), `covered` (another listener on this number has the URL) or `refused`.
    package var state: String
    package var host: String?
    package var url: String?
    /// Further URLs.
    package var aliases: [String]?
    /// `basic`: the web password is asked for. `public`: everybody gets through.
    package var auth: String?
    package var reason: String?
    package var hint: String?
    /// The command that would publish it, where one would.
    package var command: String?
    package var owner: Owner
    package var process: Process?
    package var container: Container?
    package var override: Override?
    /// Requests since samd started.
    package var requests: UInt64?
    /// When samd first saw it, RFC 3339.
    package var since: String
}

/// `GET /v1/password`.
package struct PasswordReport: Codable, Sendable, Equatable {
    package var user: String
    package var password: String
}

/// An error answer (RFC 9457, application/problem+json).
package struct ProblemDetails: Codable, Sendable, Error, Equatable {
    /// `urn:samd:problem:` and a word that never changes, for example `not-found`.
    package var type: String
    /// The kind of problem in words.
    package var title: String
    /// The HTTP status.
    package var status: Int
    /// What is wrong this time.
    package var detail: String
    /// What to do about it.
    package var hint: String?

    package init(_ type: String, status: Int, title: String, detail: String, hint: String? = nil) {
        self.type = "urn:samd:problem:\(type)"
        self.title = title
        self.status = status
        self.detail = detail
        self.hint = hint
    }
}
