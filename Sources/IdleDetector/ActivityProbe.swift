/// Looks at one kind of evidence. Probes live on the monitor's own thread, one after the other, and may block on the kernel.
package protocol ActivityProbe {
    /// `claude`, `jobs`, `agents`, `terminals`, `ssh`, `files`: as in `ProbeReport.name`.
    var name: String { get }
    /// How long it may rest when nothing wakes it.
    var interval: Duration { get }
    /// A descriptor that becomes readable when there is something new; the look empties it. Nil: it has none.
    var wakeDescriptor: Int32? { get }
    /// When it wants to look again at the latest, if that is before its interval is over.
    var wantsSoon: Moment? { get }
    /// Looks, and tells what is there now.
    ///
    /// - Throws: `ProbeFailure` when it cannot look at all.
    mutating func look(_ context: LookContext) throws(ProbeFailure) -> ProbeFindings
}

extension ActivityProbe {
    package var wakeDescriptor: Int32? { nil }
    package var wantsSoon: Moment? { nil }
}

/// What a probe saw.
package struct ProbeFindings: Sendable, Equatable {
    package var signals: [Signal]
    /// What part of the evidence could not be looked at, and why; nil when everything was.
    package var blindSpot: String?
    /// What is left out on purpose, by a bound or a setting; no reason to doubt the rest.
    package var note: String?

    package init(signals: [Signal] = [], blindSpot: String? = nil, note: String? = nil) {
        self.signals = signals
        self.blindSpot = blindSpot
        self.note = note
    }
}

/// A probe could not look.
package struct ProbeFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// What could not be done, to what, and why.
    package var reason: String
    /// What to do about it.
    package var hint: String?

    package init(_ reason: String, hint: String? = nil) {
        self.reason = reason
        self.hint = hint
    }

    package var description: String { hint.map { "\(reason); \($0)" } ?? reason }
}

/// What probes are given for a look.
package struct LookContext: Sendable {
    package var now: Moment
    /// The machine's processes, read at most `ProcessTable.freshness` ago.
    package var processes: ProcessTable
    /// The Claude processes among them: pid → id of their signal (`claude:PID:START`).
    package var claude: [Int32: String]

    package init(now: Moment, processes: ProcessTable, claude: [Int32: String] = [:]) {
        self.now = now
        self.processes = processes
        self.claude = claude
    }
}

/// One process, as the sweep saw it.
package struct ProcessEntry: Sendable, Equatable {
    package var pid: Int32
    package var parent: Int32
    /// The process group, and the session: the pid of their leaders.
    package var group: Int32
    package var session: Int32
    /// The controlling terminal's device number as in proc_pid_stat(5); 0: none.
    package var terminal: Int32
    /// The terminal's foreground process group; -1: none.
    package var foregroundGroup: Int32
    /// Clock ticks since boot.
    package var startTime: UInt64
    /// CPU in clock ticks: user and system, its own and that of children it has waited for.
    package var cpuTicks: UInt64
    /// The part of `cpuTicks` that children used whom it has waited for.
    package var childTicks: UInt64
    /// The kernel's name of it (comm), at most 15 bytes.
    package var name: String
    /// The real user.
    package var uid: UInt32
    /// The control group (cgroup v2, else the first of v1's).
    package var cgroup: String
    /// The container's name; nil on the host.
    package var container: String?
    /// Whether it is the workspace's: of a workspace owner, in a container, or in a login session.
    package var isWorkspace: Bool
    /// Ended, and not yet waited for.
    package var isZombie: Bool

    package init(
        pid: Int32, parent: Int32, group: Int32, session: Int32, terminal: Int32 = 0,
        foregroundGroup: Int32 = -1,
        startTime: UInt64, cpuTicks: UInt64 = 0, childTicks: UInt64 = 0, name: String, uid: UInt32,
        cgroup: String = "/", container: String? = nil, isWorkspace: Bool = true, isZombie: Bool = false
    ) {
        self.pid = pid
        self.parent = parent
        self.group = group
        self.session = session
        self.terminal = terminal
        self.foregroundGroup = foregroundGroup
        self.startTime = startTime
        self.cpuTicks = cpuTicks
        self.childTicks = childTicks
        self.name = name
        self.uid = uid
        self.cgroup = cgroup
        self.container = container
        self.isWorkspace = isWorkspace
        self.isZombie = isZombie
    }
}

/// The machine's processes but for kernel threads, by pid (as the host numbers them).
package struct ProcessTable: Sendable, Equatable {
    /// How old a table may be when a probe gets it.
    package static let freshness: Duration = .seconds(20)

    package var at: Moment
    package var entries: [Int32: ProcessEntry]
    /// Processes that are there and could not be looked at: how many, and why for one of them.
    package var unreadable: (count: Int, reason: String)?

    package init(
        at: Moment, entries: [Int32: ProcessEntry] = [:], unreadable: (count: Int, reason: String)? = nil
    ) {
        self.at = at
        self.entries = entries
        self.unreadable = unreadable
    }

    package static func == (left: ProcessTable, right: ProcessTable) -> Bool {
        left.at == right.at && left.entries == right.entries
            && left.unreadable?.count == right.unreadable?.count
    }
}
