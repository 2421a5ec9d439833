/// Whether the machine is used, with everything that led to the answer.
package struct IdleVerdict: Codable, Sendable, Equatable {
    /// The answer.
    package enum State: String, Codable, Sendable, CaseIterable {
        /// Something holds the machine, or the last activity is less than the threshold ago.
        case active
        /// Nothing holds it, and a Claude session asks its user something.
        case waiting
        /// Nobody and nothing has used it for the threshold.
        case idle
    }

    /// What Claude does, over all sessions.
    package enum ClaudeState: String, Codable, Sendable, CaseIterable {
        /// At least one session is in a turn, has running tasks, or cannot be told to have none.
        case works
        /// Sessions are there; all of them wait for their users.
        case waits
        /// No session is there.
        case gone
    }

    /// What may be done with the machine once it is idle.
    package enum EndAction: String, Codable, Sendable { case delete, image }

    /// A signal, or a blind probe, that counts.
    package struct Reason: Codable, Sendable, Equatable {
        /// `Signal.id`; for a blind probe `probe:NAME`.
        package var id: String
        /// Nil for a blind probe.
        package var kind: Signal.Kind?
        /// For people: `Claude works in /home/dev/app (pid 4242)`.
        package var text: String
        /// Since when it is so.
        package var since: Moment
        /// When it last made progress or was touched.
        package var changedAt: Moment?
        /// When it stops to count unless it changes; nil: it counts as long as it is there.
        package var until: Moment?

        package init(
            id: String, kind: Signal.Kind?, text: String, since: Moment, changedAt: Moment? = nil,
            until: Moment? = nil
        ) {
            self.id = id
            self.kind = kind
            self.text = text
            self.since = since
            self.changedAt = changedAt
            self.until = until
        }
    }

    /// A signal that does not count, and why.
    package struct Ignored: Codable, Sendable, Equatable {
        package var id: String
        package var kind: Signal.Kind
        package var text: String
        package var why: String

        package init(id: String, kind: Signal.Kind, text: String, why: String) {
            self.id = id
            self.kind = kind
            self.text = text
            self.why = why
        }
    }

    /// Something that people should hear of; stands in every verdict as long as it is so.
    package struct Alarm: Codable, Sendable, Equatable {
        package enum Kind: String, Codable, Sendable, CaseIterable {
            /// A probe cannot look.
            case blind
            /// A busy Claude made no progress up to its cap.
            case silentBusy = "silent-busy"
            /// Nothing tells what a Claude does.
            case unknownClaude = "unknown-claude"
            /// Work goes on although no human was there for long.
            case unattended
            /// Nothing but files changed up to the cap.
            case filesAlone = "files-alone"
            /// Wake-ups, holds or samd's own work reached their cap.
            case capped
        }
        package var kind: Kind
        /// What it is about: `Signal.id` or `probe:NAME`.
        package var id: String
        package var text: String
        package var since: Moment

        package init(kind: Kind, id: String, text: String, since: Moment) {
            self.kind = kind
            self.id = id
            self.text = text
            self.since = since
        }
    }

    package var at: Moment
    package var state: State
    /// Since when the state is this one.
    package var since: Moment
    package var claude: ClaudeState
    /// What holds the machine now; the one that holds it longest first.
    package var holding: [Reason]
    /// What was last active when nothing holds.
    package var lastActivity: Reason
    /// When a human last did something, if that was seen.
    package var lastHuman: Moment?
    package var ignored: [Ignored]
    /// When the machine becomes (or became) idle if nothing changes; nil: it never will by itself.
    package var deadline: Moment?
    /// What follows once it is idle.
    package var endAction: EndAction
    package var alarms: [Alarm]
    /// When to decide again although nothing changed; nil: no need.
    package var reviewAt: Moment?

    package init(
        at: Moment, state: State, since: Moment, claude: ClaudeState, holding: [Reason], lastActivity: Reason,
        lastHuman: Moment?, ignored: [Ignored], deadline: Moment?, endAction: EndAction, alarms: [Alarm],
        reviewAt: Moment?
    ) {
        self.at = at
        self.state = state
        self.since = since
        self.claude = claude
        self.holding = holding
        self.lastActivity = lastActivity
        self.lastHuman = lastHuman
        self.ignored = ignored
        self.deadline = deadline
        self.endAction = endAction
        self.alarms = alarms
        self.reviewAt = reviewAt
    }
}
