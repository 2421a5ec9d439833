import IdleDetector

/// Writes the story of one machine.
struct TruthBuilder {
    var random: SplitMix64
    var truth: Truth
    /// When the story that is told begins.
    var story: Millis = 0
    private var pids: Int32 = 1000
    private var workspaceFiles: [Happening] = []
    private var requests: [Int: (person: [Happening], background: [Happening])] = [:]
    private var tabs: [Int: [(from: Millis, to: Millis)]] = [:]

    var end: Millis { truth.length }

    init(seed: UInt64, length: Millis) {
        random = SplitMix64(seed: seed)
        truth = Truth(seed: seed, length: length)
    }

    mutating func note(_ at: Millis, _ text: String) {
        if at < end { truth.notes.append((at, text)) }
    }

    mutating func work(_ from: Millis, _ to: Millis, _ cause: String, startsItself: Bool = false) {
        guard from < to, from < end else { return }
        truth.works.append(
            Work(from: from, to: min(to, end), cause: cause, startsItself: startsItself, story: story))
    }

    @discardableResult
    mutating func add(_ source: Source) -> Int {
        truth.sources.append(source)
        truth.sources[truth.sources.count - 1].story = story
        return truth.sources.count - 1
    }

    mutating func process() -> Int32 {
        pids += 1 + Int32(random.next() % 7)
        return pids
    }

    /// A source that is there from `from` to `to`.
    func source(
        _ kind: Signal.Kind, _ name: String, _ probe: Probe?, cause: String, from: Millis, to: Millis,
        until: Millis? = nil, marks: NaiveMarks = []
    ) -> Source {
        Source(
            id: name, subject: name, probe: probe, cause: cause,
            phases: [Phase(from, kind, until: until), Phase(max(to, from + 1), nil)], marks: marks)
    }

    // MARK: What humans and programs do

    /// Keys of a human: bursts, with pauses to read and think; one in each 5 to 20 s stands for all.
    mutating func typing(_ from: Millis, _ to: Millis) -> [Happening] {
        var keys: [Happening] = []
        var now = from
        while now < to {
            let burstEnd = min(to, now + random.spread(15 * .second, 12 * .minute))
            while now < burstEnd {
                keys.append(Happening(at: now, isReal: true))
                now += random.between(5 * .second, 20 * .second)
            }
            now += random.spread(10 * .second, 25 * .minute)
        }
        return keys
    }

    /// What a program does at a steady rhythm.
    mutating func beat(
        _ from: Millis, _ to: Millis, every: Millis, isReal: Bool = false, jitter: Double = 0.1
    ) -> [Happening] {
        var happenings: [Happening] = []
        var now = from
        while now < min(to, end) {
            happenings.append(Happening(at: now, isReal: isReal))
            now += max(.second, Millis(Double(every) * random.share(1 - jitter, 1 + jitter)))
        }
        return happenings
    }

    mutating func changeFiles(_ happenings: [Happening]) { workspaceFiles += happenings }

    mutating func request(_ port: Int, person: [Happening] = [], background: [Happening] = []) {
        requests[port, default: ([], [])].person += person
        requests[port, default: ([], [])].background += background
    }

    mutating func openTab(_ port: Int, _ from: Millis, _ to: Millis) {
        tabs[port, default: []].append((from, to))
    }

    // MARK: The end

    /// The truth as told, in order, with what dies in a reboot dead.
    mutating func finish() -> Truth {
        addShared()
        for outage in truth.outages where outage.kind == .reboot { kill(at: outage.from) }
        for index in truth.sources.indices {
            truth.sources[index].happenings.sort { $0.at < $1.at }
            truth.sources[index].happenings.removeAll { [end] in $0.at >= end }
            truth.sources[index].loads.sort { $0.from < $1.from }
        }
        truth.works.sort { $0.from < $1.from }
        truth.notes.sort { $0.at < $1.at }
        truth.outages.sort { $0.from < $1.from }
        truth.jumps.sort { $0.at < $1.at }
        return truth
    }

    private mutating func addShared() {
        if !workspaceFiles.isEmpty {
            var files = source(
                .files, "files:/workspace", .files, cause: "changing files", from: 0, to: end, marks: .files)
            files.happenings = workspaceFiles
            add(files)
        }
        for (port, seen) in requests.sorted(by: { $0.key < $1.key }) {
            for (kind, happenings) in [
                (Signal.Kind.webPerson, seen.person), (.webBackground, seen.background),
            ] where !happenings.isEmpty {
                var web = source(
                    kind, "\(kind.rawValue):\(port)", .web, cause: "web", from: 0, to: end)
                web.happenings = happenings
                add(web)
            }
        }
        for (from, to) in (tabs[3001] ?? []) {
            // Seen by nothing of ours: an open connection is no activity.
            var tab = Source(id: "tab", subject: "tab", cause: "open tab", marks: .connection)
            tab.phases = [Phase(from, nil), Phase(to, nil)]
            add(tab)
        }
    }

    private mutating func kill(at reboot: Millis) {
        for index in truth.sources.indices {
            let source = truth.sources[index]
            // Users' holds are on disk, and the shared sources are no processes.
            guard let first = source.phases.first, source.story < reboot, first.kind != .hold,
                source.probe != .files, source.probe != .web
            else { continue }
            truth.sources[index].phases.removeAll { $0.from >= reboot }
            if truth.sources[index].phases.last.map({ $0.kind != nil }) ?? true {
                truth.sources[index].phases.append(Phase(reboot, nil))
            }
            truth.sources[index].happenings.removeAll { $0.at >= reboot }
            truth.sources[index].loads = source.loads.filter { $0.from < reboot }.map {
                Load(from: $0.from, to: min($0.to, reboot), share: $0.share)
            }
        }
        for index in truth.works.indices where truth.works[index].story < reboot {
            truth.works[index].to = min(truth.works[index].to, reboot)
        }
        truth.works.removeAll { $0.from >= $0.to }
    }
}
