/// One piece of evidence about whether somebody or something uses the machine, as a probe saw it last.
///
/// Probes tell what they see and when it last *changed*; whether that counts, and for how long, is `IdlePolicy`'s alone.
package struct Signal: Codable, Sendable, Equatable, Identifiable {
    /// What kind of evidence it is. The raw values appear in `GET /v1/idle`, metrics and recordings, and never change.
    package enum Kind: String, Codable, Sendable, CaseIterable {
        /// A Claude session in the middle of a turn.
        case claudeBusy = "claude.busy"
        /// A Claude session at its prompt with a background task of its own still running.
        case claudeShell = "claude.shell"
        /// A Claude session that asks its user something; `detail` says what.
        case claudeAsking = "claude.asking"
        /// A Claude session at its prompt.
        case claudePrompt = "claude.prompt"
        /// A live Claude of which neither registry nor transcript nor tools say what it does.
        case claudeUnknown = "claude.unknown"
        /// A process that a Claude session started and that still runs.
        case tool = "claude.tool"
        /// One whose Claude is gone.
        case orphan = "claude.orphan"
        /// A session will go on by itself at `until`.
        case wakeUp = "claude.wake-up"
        /// Another coding agent.
        case agent
        /// Processes of the workspace: jobs of a shell, of tmux, of cron, of a container.
        case job
        /// A terminal on which input arrived.
        case terminal
        /// A terminal that a multiplexer (tmux, screen) made: who types is at the multiplexer's client.
        case terminalPane = "terminal.pane"
        /// An open SSH session; tells who is there, never that they do something.
        case ssh
        /// Bytes that flow through SSH.
        case transfer = "ssh.transfer"
        /// A request that a person made in a browser: authenticated, and not GET or marked by the browser as a user's act.
        case webPerson = "web.person"
        /// Other authenticated requests.
        case webBackground = "web.background"
        /// Changed files of the workspace.
        case files
        /// A user asked to keep the machine until `until`.
        case hold
        /// samd's own work that must end first: boot, backup, restore. `detail` names it.
        case operation
        /// The machine was rebooted while something worked; it is kept until `until`.
        case interrupted
    }

    /// Stable for as long as it is the same thing, for example `claude:4242:91823` (pid and start time).
    package var id: String
    package var kind: Kind
    /// Whom it is about, for people; bounded, without line breaks: `pid 4242 in dc1, /home/dev/app`.
    package var subject: String
    /// More about its state: what is asked, which file, why it is not counted.
    package var detail: String?
    package var pid: Int32?
    package var user: String?
    package var container: String?
    /// Since when it is of this kind, as far as was seen.
    package var since: Moment
    /// When it last changed: input arrived, a transcript grew, CPU or I/O above the floor. Nil: not since it is watched.
    package var changedAt: Moment?
    /// When it ends by itself (holds, wake-ups, interruptions).
    package var until: Moment?
    /// For tools: the `id` of the Claude signal that they work for.
    package var belongsTo: String?

    package init(
        id: String, kind: Kind, subject: String, detail: String? = nil, pid: Int32? = nil,
        user: String? = nil,
        container: String? = nil, since: Moment, changedAt: Moment? = nil, until: Moment? = nil,
        belongsTo: String? = nil
    ) {
        self.id = id
        self.kind = kind
        self.subject = subject
        self.detail = detail
        self.pid = pid
        self.user = user
        self.container = container
        self.since = since
        self.changedAt = changedAt
        self.until = until
        self.belongsTo = belongsTo
    }
}

/// How a probe fares: "could not look" is not "nothing there".
package struct ProbeReport: Codable, Sendable, Equatable {
    /// `processes`, `claude`, `tools`, `jobs`, `agents`, `terminals`, `web`, `ssh`, `files`.
    package var name: String
    /// When it last saw all that it is there for; nil: never yet.
    package var lastLook: Moment?
    /// Since when it cannot look; nil: it can.
    package var failingSince: Moment?
    /// What it cannot see and why, with what to do about it; when it is not failing, what it leaves out by a bound.
    package var reason: String?

    package init(name: String, lastLook: Moment? = nil, failingSince: Moment? = nil, reason: String? = nil) {
        self.name = name
        self.lastLook = lastLook
        self.failingSince = failingSince
        self.reason = reason
    }
}

/// Everything that is known about the machine's use at one instant.
package struct ActivitySnapshot: Codable, Sendable, Equatable {
    /// Signals that are kept.
    package static let signalLimit = 1024

    /// As many signals as are kept, in their order: of too many, those go first that never count.
    package static func bounded(_ signals: [Signal]) -> [Signal] {
        guard signals.count > signalLimit else { return signals }
        let ranked = signals.indices.sorted { (signals[$0].rank, $0) < (signals[$1].rank, $1) }
        return ranked.prefix(signalLimit).sorted().map { signals[$0] }
    }

    package var at: Moment
    package var signals: [Signal]
    package var probes: [ProbeReport]

    package init(at: Moment, signals: [Signal] = [], probes: [ProbeReport] = []) {
        self.at = at
        self.signals = signals
        self.probes = probes
    }
}

extension Signal {
    /// What may hold or touch comes before what only tells who is there, so that many of those push nothing out.
    fileprivate var rank: Int {
        switch kind {
        case .hold, .operation, .interrupted, .claudeBusy, .claudeShell, .tool, .orphan, .wakeUp: 0
        case .claudeAsking, .webPerson, .files, .agent: 1
        case .job, .terminal: changedAt == nil ? 4 : 1
        case .claudeUnknown: 2
        case .webBackground, .transfer, .claudePrompt: 3
        case .terminalPane, .ssh: 5
        }
    }
}
