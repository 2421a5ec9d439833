import IdleDetector

/// Virtual milliseconds since a simulated machine was made. Reboots do not set it back, unlike `Moment`.
package typealias Millis = Int64

extension Millis {
    package static let second: Millis = 1000
    package static let minute: Millis = 60 * second
    package static let hour: Millis = 60 * minute
    package static let day: Millis = 24 * hour

    /// Day and time of day: `d2 14:05:09.250`.
    package var clockText: String {
        func two(_ number: Millis) -> String { (number < 10 ? "0" : "") + String(number) }
        let rest = self % .second
        let fraction = rest == 0 ? "" : "." + String(String(1000 + rest).dropFirst())
        return "d\(self / .day) \(two(self % .day / .hour)):\(two(self % .hour / .minute))"
            + ":\(two(self % .minute / .second))\(fraction)"
    }
}

extension Duration {
    package var millis: Millis { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}

/// The probes of the detector: their names and how often they look.
enum Probe: Int, CaseIterable {
    case claude, jobs, agents, terminals, web, ssh, files

    var name: String { String(describing: self) }

    var interval: Millis {
        switch self {
        case .claude: .second
        case .web: 5 * .second
        case .jobs, .agents, .terminals, .ssh: 15 * .second
        case .files: .minute
        }
    }

    /// Whether the thread of the probes runs it; requests are told by the web server.
    var isOfThread: Bool { self != .web }

    static let window: Millis = .minute
}

/// What there is to see of a source from `from` on; a kind of nil: nothing.
struct Phase {
    var from: Millis
    var kind: Signal.Kind?
    var until: Millis?

    init(_ from: Millis, _ kind: Signal.Kind?, until: Millis? = nil) {
        self.from = from
        self.kind = kind
        self.until = until
    }
}

/// Something happens: a key, a request, a changed file, a record of a transcript.
struct Happening {
    var at: Millis
    /// Whether a human or work of worth is behind it.
    var isReal: Bool
}

/// Use of the processor (or as much I/O) over a time, as a share of one core.
struct Load {
    var from: Millis
    var to: Millis
    var share: Double
}

/// What the naive script would see of a source.
struct NaiveMarks: OptionSet {
    let rawValue: Int
    /// `pgrep 'claude|node'` finds it while it is there.
    static let process = NaiveMarks(rawValue: 1)
    /// `who` lists it while it is there.
    static let login = NaiveMarks(rawValue: 2)
    /// Each happening changes a file of the workspace or of ~/.claude.
    static let files = NaiveMarks(rawValue: 4)
    /// It has a connection on port 3001 while it is there.
    static let connection = NaiveMarks(rawValue: 8)
    /// Its load writes files.
    static let output = NaiveMarks(rawValue: 16)
}

/// One thing on the machine of which a probe makes one signal.
struct Source {
    var id: String
    var subject: String
    /// Nil: samd knows it by itself.
    var probe: Probe?
    /// What it is in reports.
    var cause: String
    var phases: [Phase] = []
    var happenings: [Happening] = []
    var loads: [Load] = []
    /// The id of the Claude that it works for.
    var belongsTo: String?
    /// When the story begins that it belongs to: a reboot ends all of it.
    var story: Millis = 0
    /// Whether its load is work of worth.
    var isReal = false
    var marks: NaiveMarks = []

    var begin: Millis { phases.first?.from ?? 0 }
    /// When it is gone; what happened before may be seen later.
    var end: Millis { max(phases.last?.from ?? 0, happenings.last?.at ?? 0) }
}

/// Work of worth, from its begin to its end: what it costs to delete the machine in its midst.
struct Work {
    var from: Millis
    var to: Millis
    var cause: String
    /// Begins without anybody's doing, so that a deleted machine misses it.
    var startsItself = false
    var story: Millis = 0
}

/// A time in which samd sees less than there is.
struct Outage {
    enum Kind: Equatable {
        /// One probe cannot look.
        case blind(Probe)
        /// The thread of the probes hangs in the kernel; samd decides on.
        case hang
        /// samd stands still and keeps its memory.
        case pause
        /// Another process of samd afterwards, which goes on with what this one wrote down: at its end, or, when it was
        /// killed, some time before.
        case restart(isKilled: Bool)
        case reboot
    }
    var kind: Kind
    var from: Millis
    var to: Millis

    func hits(_ probe: Probe?) -> Bool {
        switch kind {
        case .blind(let blind): blind == probe
        case .hang: probe?.isOfThread == true
        case .pause, .restart, .reboot: true
        }
    }

    /// Whether samd decides meanwhile.
    var isBlindness: Bool {
        switch kind {
        case .blind, .hang: true
        case .pause, .restart, .reboot: false
        }
    }

    var isRestart: Bool { if case .restart = kind { true } else { false } }

    /// Whether the probes' thread says nothing meanwhile, though it goes on afterwards where it was.
    var isSilence: Bool { kind == .hang || kind == .pause }

    /// A snapshot that is older is as good as none.
    static let patience: Millis = 30 * .second
    /// From the end of a silence to the first snapshot at the latest.
    static let recovery: Millis = 16 * .second
}

/// Everything that happens on one machine, decided before samd sees any of it.
struct Truth {
    var seed: UInt64
    var length: Millis
    var settings = IdleSettings()
    var sources: [Source] = []
    var works: [Work] = []
    /// In order, those of one probe disjoint.
    var outages: [Outage] = []
    /// The wall clock jumps: when, and by how much.
    var jumps: [(at: Millis, by: Millis)] = []
    /// What happens, in words.
    var notes: [(at: Millis, text: String)] = []
    /// From a probe's look to the snapshot that holds it.
    var delays: [Millis] = []
    /// When in its interval each probe looks.
    var offsets: [Millis] = []

    /// The first look of a probe at or after `time`; in a round of all probes it does not wait for its turn.
    func look(_ probe: Probe?, from time: Millis, isRound: Bool = false) -> Millis {
        var look = time
        if let probe, !isRound {
            let offset = offsets[probe.rawValue]
            look = offset + (time - offset + probe.interval - 1) / probe.interval * probe.interval
        }
        for outage in outages where outage.from <= look && look < outage.to && outage.hits(probe) {
            look = outage.to
        }
        return look
    }

    /// The longest from a truth to a snapshot that tells it, when the probe can look.
    func latency(_ probe: Probe?) -> Millis {
        guard let probe else { return .second }
        return probe.interval + delays[probe.rawValue] + .second
    }
}
