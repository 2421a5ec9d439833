import ProcFS

/// One Claude process from its first sight to its end: what it did last, and since when.
struct ClaudeSession {
    /// A process without a file about its session has so long to write one.
    static let startGrace: Duration = .seconds(30)
    /// What a torn file said before counts so long.
    static let tornGrace: Duration = .seconds(10)
    /// Bytes of the working directory in the subject.
    private static let folderLimitBytes = 200
    /// How often the jobs that a project keeps in a file are read.
    private static let tasksPause: Duration = .seconds(60)

    /// What a look gives.
    struct Outcome {
        var signals: [Signal] = []
        var blindSpot: String?
        /// When to look again at the latest.
        var wantsSoon: Moment?
    }

    /// What the session does, in the policy's words.
    private struct State: Equatable {
        var kind: Signal.Kind
        var detail: String?
    }

    let id: String
    private let firstSeen: Moment
    private var home: ClaudeHome?
    private(set) var watch: Int32?
    private var record: (value: SessionRecord, at: Moment)?
    private var state: State?
    private var since: Moment
    private var changedAt: Moment?
    private var follower = TranscriptFollower()
    private var keptJobs: [ScheduledWakeUps.Job] = []
    private var keptJobsAt: Moment?
    private var wakeUp: (at: Int64, until: Moment, since: Moment)?

    init(id: String, firstSeen: Moment) {
        self.id = id
        self.firstSeen = firstSeen
        since = firstSeen
    }

    /// What the looks of a probe have in common.
    struct Surroundings {
        var procfs: ProcFileSystem
        var inotify: InotifyWatch?
        var zone: LocalZone
        /// Milliseconds since 1970.
        var wallNow: Int64
        var now: Moment
    }

    /// Looks at the process; without signals when it is gone.
    ///
    /// - Parameter budget: reads of transcripts that are left; counted down.
    mutating func look(_ entry: ProcessEntry, _ around: Surroundings, budget: inout Int) -> Outcome {
        let home: ClaudeHome
        let root: GuardedRoot
        do throws(ClaudeHome.Failure) {
            if let known = self.home {
                home = known
            } else {
                home = try ClaudeHome(of: entry.pid, uid: entry.uid, procfs: around.procfs)
                self.home = home
            }
        } catch {
            guard case .blind(let reason) = error else { return Outcome() }
            var outcome = blind(entry, nil, reason, around.now)
            // Within execve(2) a process has no environment yet.
            if around.now - firstSeen < Self.startGrace {
                outcome.wantsSoon = around.now + .milliseconds(200)
            }
            return outcome
        }
        do throws(GuardedFailure) {
            root = try GuardedRoot(of: entry.pid, procfs: around.procfs, owners: home.owners)
        } catch .notFound {
            return Outcome()
        } catch {
            return blind(entry, nil, "its root folder: \(error)", around.now)
        }
        watchSessions(home, root, around)
        return look(entry, home, root, around, &budget)
    }

    /// The watch's folder is gone.
    mutating func forgetWatch() { watch = nil }

    private mutating func look(
        _ entry: ProcessEntry, _ home: ClaudeHome, _ root: borrowing GuardedRoot, _ around: Surroundings,
        _ budget: inout Int
    ) -> Outcome {
        let now = around.now
        var outcome = Outcome()
        switch SessionRegistry.read(home, startTime: entry.startTime, in: root) {
        case .record(let found):
            record = (found, now)
        case .absent:
            record = nil
        case .torn:
            guard let record, now - record.at <= Self.tornGrace else {
                return blind(
                    entry, nil, "\(home.path)/sessions/\(home.ownPID).json is no whole text of JSON", now)
            }
            outcome.wantsSoon = now + .milliseconds(200)
        case .blind(let reason):
            return blind(entry, nil, reason, now)
        }
        let folder = record?.value.folder ?? (try? around.procfs.workingDirectory(of: entry.pid)) ?? "/"
        let grew = follower.look(
            sessionID: record?.value.sessionID, folder: folder, home: home, in: root, at: now,
            budget: &budget)
        if grew { changedAt = now }
        enter(state(home, root, now), now)
        if record == nil, now - firstSeen < Self.startGrace { outcome.wantsSoon = now + .seconds(1) }
        outcome.signals.append(signal(entry, folder))
        if let sessionID = record?.value.sessionID {
            readKeptJobs(of: sessionID, folder, root, now)
            if let signal = wakeUpSignal(entry, folder, around) { outcome.signals.append(signal) }
        }
        return outcome
    }

    // MARK: - State

    private mutating func state(_ home: ClaudeHome, _ root: borrowing GuardedRoot, _ now: Moment) -> State {
        guard let record = record?.value else {
            if now - firstSeen < Self.startGrace { return State(kind: .claudePrompt, detail: "starting") }
            if SessionRegistry.hasKey(home, in: root) {
                return State(kind: .claudePrompt, detail: "in a start-up dialog")
            }
            guard follower.isFound else { return State(kind: .claudePrompt, detail: "without a session yet") }
            return byTranscript(home, root, "writes nothing about its session")
        }
        switch record.status {
        case .busy: return State(kind: .claudeBusy)
        case .shell: return State(kind: .claudeShell)
        case .waiting: return State(kind: .claudeAsking, detail: record.waitingFor)
        case .idle: return State(kind: .claudePrompt)
        case .other(let word): return byTranscript(home, root, "says \"\(word)\"")
        case nil: return byTranscript(home, root, "does not say what it does")
        }
    }

    private mutating func byTranscript(
        _ home: ClaudeHome, _ root: borrowing GuardedRoot, _ why: String
    ) -> State {
        switch follower.turn(home: home, in: root) {
        case .inProgress: State(kind: .claudeBusy, detail: "as its transcript ends; it \(why)")
        case .finished: State(kind: .claudePrompt, detail: "as its transcript ends; it \(why)")
        case .unknown: State(kind: .claudeUnknown, detail: "it \(why), and its transcript does not tell")
        }
    }

    private mutating func enter(_ next: State, _ now: Moment) {
        guard next != state else { return }
        if let state {
            if state.kind != next.kind { since = now }
            changedAt = now
        }
        state = next
    }

    private mutating func blind(
        _ entry: ProcessEntry, _ folder: String?, _ reason: String, _ now: Moment
    ) -> Outcome {
        let reason = SessionRecord.clean(reason)
        enter(State(kind: .claudeUnknown, detail: reason), now)
        let folder = folder ?? record?.value.folder ?? ""
        return Outcome(
            signals: [signal(entry, folder)], blindSpot: "\(Self.subject(entry, folder)): \(reason)")
    }

    // MARK: - Signals

    private func signal(_ entry: ProcessEntry, _ folder: String) -> Signal {
        Signal(
            id: id, kind: state?.kind ?? .claudeUnknown, subject: Self.subject(entry, folder),
            detail: state?.detail,
            pid: entry.pid, container: entry.container, since: since, changedAt: changedAt)
    }

    /// `pid 4242 in dc1, /srv/app`
    static func subject(_ entry: ProcessEntry, _ folder: String) -> String {
        var text = "pid \(entry.pid)"
        if let container = entry.container { text += " in \(SessionRecord.clean(container))" }
        if !folder.isEmpty {
            let clean = SessionRecord.clean(folder)
            text +=
                clean.utf8.count <= folderLimitBytes
                ? ", \(clean)" : ", …\(clean.suffix(folderLimitBytes / 4))"
        }
        return text
    }

    private mutating func readKeptJobs(
        of sessionID: String, _ folder: String, _ root: borrowing GuardedRoot, _ now: Moment
    ) {
        if let keptJobsAt, now - keptJobsAt < Self.tasksPause { return }
        keptJobsAt = now
        keptJobs = ScheduledTasksFile.jobs(of: sessionID, folder: folder, in: root)
    }

    private mutating func wakeUpSignal(_ entry: ProcessEntry, _ folder: String, _ around: Surroundings)
        -> Signal?
    {
        var times = keptJobs.compactMap { $0.next(now: around.wallNow, in: around.zone) }
        var count = times.count
        if let own = follower.wakeUps.next(now: around.wallNow, in: around.zone) {
            times.append(own.at)
            count += own.count
        }
        guard let at = times.min() else {
            wakeUp = nil
            return nil
        }
        let until = around.now + .milliseconds(at - around.wallNow)
        if let known = wakeUp, known.at == at {
            // The same but for rounding, unless the wall clock was set.
            if abs((known.until - until).wholeMilliseconds) > 1000 { wakeUp?.until = until }
        } else {
            wakeUp = (at, until, wakeUp?.since ?? around.now)
        }
        guard let wakeUp else { return nil }
        return Signal(
            id: "wake-up:\(id.dropFirst("claude:".count))", kind: .wakeUp,
            subject: Self.subject(entry, folder),
            detail: count == 1 ? "one scheduled turn" : "the next of \(count) scheduled turns",
            pid: entry.pid,
            container: entry.container, since: wakeUp.since, until: wakeUp.until, belongsTo: id)
    }

    // MARK: - Watch

    private mutating func watchSessions(
        _ home: ClaudeHome, _ root: borrowing GuardedRoot, _ around: Surroundings
    ) {
        guard watch == nil, let inotify = around.inotify,
            let folder = try? root.folder("\(home.path)/sessions"), let status = try? folder.status(),
            home.owners.contains(status.uid)
        else { return }
        watch = inotify.watch(folder)
    }
}
