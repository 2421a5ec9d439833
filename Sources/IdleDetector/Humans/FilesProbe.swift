import Glibc
import ProcFS

/// Sees that files of the workspace changed, by walking its folders again and again and comparing fingerprints.
///
/// A walk of a large tree is cut into looks: while `wantsSoon`, `interval` is short.
package struct FilesProbe: ActivityProbe {
    /// Trees that are walked; more are a blind spot.
    package static let rootLimit = 64
    /// Entries of one look …
    package static let entriesPerLook = 32_768
    /// … unless the disk needs longer than this.
    static let lookLimit: Duration = .milliseconds(100)
    /// Between looks of the same round.
    static let soon: Duration = .milliseconds(50)
    /// Between rounds, at least …
    package static let shortestPause: Duration = .seconds(60)
    /// … at most, so that changes are seen well within any threshold, …
    package static let longestPause: Duration = .seconds(10 * 60)
    /// … and so many times the processor time that the last round took: 0.1 % of a core.
    static let pauseFactor = 1000

    package let name = "files"

    private struct Root {
        let path: String
        var since: Moment?
        var prints = FolderPrints()
        var hasBaseline = false
        var isThere = false
        var changedAt: Moment?
        var detail: String?
        var problem: String?
        /// What its last walk left out.
        var limits: String?
    }

    private let excludes: FileExcludes
    private let entriesPerLook: Int
    private var roots: [Root] = []
    private var droppedCount = 0
    /// The walk that is going on, and the root that it is of.
    private var walk: FolderWalk?
    private var walked = 0
    /// Whether a round is going on, so that the next look should be soon.
    private(set) var isWalking = false
    private var roundCost: Duration = .zero
    private var nextRound: Moment?
    private var pause = Self.shortestPause

    /// - Parameters:
    ///   - roots: absolute paths on the host, without symbolic links.
    ///   - entriesPerLook: about how many files one look takes.
    package init(
        roots: [String] = [], excludes: FileExcludes = FileExcludes(),
        entriesPerLook: Int = Self.entriesPerLook
    ) {
        self.excludes = excludes
        self.entriesPerLook = entriesPerLook
        setRoots(roots)
    }

    package var interval: Duration { isWalking ? Self.soon : pause }

    /// Walks these trees from now on. What is remembered of those that stay is kept; folders within one another count once.
    package mutating func setRoots(_ paths: [String]) {
        let cleaned = Set(paths.filter { $0.hasPrefix("/") }.map { Self.withoutSlashes($0) })
        let outermost = cleaned.filter { path in
            !cleaned.contains { $0 != path && path.hasPrefix($0 == "/" ? "/" : "\($0)/") }
        }
        let kept = outermost.sorted().prefix(Self.rootLimit)
        guard kept.elementsEqual(roots.map(\.path)) == false else { return }
        droppedCount = outermost.count - kept.count
        roots = kept.map { path in roots.first { $0.path == path } ?? Root(path: path) }
        walk = nil
        isWalking = false
        nextRound = nil
    }

    package mutating func look(_ context: LookContext) -> ProbeFindings {
        if !isWalking, context.now >= nextRound ?? context.now {
            isWalking = true
            walked = 0
            roundCost = .zero
        }
        if isWalking { walkOn(at: context.now) }
        return findings()
    }

    private mutating func walkOn(at now: Moment) {
        let costBefore = Self.processorTime()
        let deadline = Moment.now() + Self.lookLimit
        var count = 0
        while walked < roots.count {
            guard walk != nil || begin(at: now) else {
                walked += 1
                continue
            }
            // The first buffer is always read, so that every look gets on.
            let before = count
            let isDone =
                walk?.advance(&roots[walked].prints, excludes) { inWalk in
                    count = before + inWalk
                    return count == 0 || count < entriesPerLook && Moment.now() < deadline
                } ?? true
            guard isDone else { break }
            end(at: now)
        }
        roundCost += Self.processorTime() - costBefore
        guard walked >= roots.count else { return }
        isWalking = false
        pause = min(max(roundCost * Self.pauseFactor, Self.shortestPause), Self.longestPause)
        nextRound = now + pause
    }

    /// Begins the walk of a root; false: that cannot be walked.
    private mutating func begin(at now: Moment) -> Bool {
        do throws(Errno) {
            walk = try FolderWalk(root: roots[walked].path)
            roots[walked].prints.begin()
            roots[walked].isThere = true
            roots[walked].since = roots[walked].since ?? now
            return true
        } catch {
            // No such folder is nothing there: a workspace that is still to come.
            roots[walked].isThere = false
            roots[walked].problem = error.rawValue == ENOENT ? nil : Self.refusal(error)
            return false
        }
    }

    private mutating func end(at now: Moment) {
        guard let result = walk?.result else { return }
        walk = nil
        roots[walked].prints.finish(isWhole: result.isWhole, limit: FolderWalk.entryLimit)
        if let change = result.change, roots[walked].hasBaseline {
            roots[walked].changedAt = now
            roots[walked].detail = change
        }
        roots[walked].hasBaseline = true
        var limits: [String] = []
        if let unreadable = result.unreadable {
            limits.append("\(unreadable.count) entries cannot be looked at (\(unreadable.example))")
        }
        if result.isTooLarge { limits.append("only its first \(FolderWalk.entryLimit) entries are watched") }
        if result.isTooDeep { limits.append("only its first \(FolderWalk.depthLimit) levels are watched") }
        roots[walked].problem = nil
        roots[walked].limits = limits.isEmpty ? nil : limits.joined(separator: ", ")
        walked += 1
    }

    private func findings() -> ProbeFindings {
        var findings = ProbeFindings()
        var problems: [String] = []
        var limits: [String] = []
        for root in roots {
            let shown = HostileText.line(root.path, limitBytes: 256)
            if let problem = root.problem { problems.append("\(shown): \(problem)") }
            if let left = root.limits { limits.append("\(shown): \(left)") }
            guard root.isThere, let since = root.since else { continue }
            findings.signals.append(
                Signal(
                    id: "files:\(shown)", kind: .files, subject: shown, detail: root.detail, since: since,
                    changedAt: root.changedAt))
        }
        if droppedCount > 0 {
            limits.append("\(droppedCount) folders beyond the bound of \(Self.rootLimit) are not watched")
        }
        findings.blindSpot = problems.isEmpty ? nil : problems.joined(separator: "; ")
        // A workspace beyond the bounds must not keep its machine for ever.
        findings.note = limits.isEmpty ? nil : limits.joined(separator: "; ")
        return findings
    }

    private static func refusal(_ errno: Errno) -> String {
        switch errno.rawValue {
        // The kernel says one or the other of a link at the end.
        case ELOOP, ENOTDIR: "is no folder, or its path leads through a symbolic link: name the folder itself"
        default: "cannot be opened: \(errno)"
        }
    }

    private static func withoutSlashes(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }

    /// Of this thread.
    private static func processorTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}
