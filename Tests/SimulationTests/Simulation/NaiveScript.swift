/// The script that this kind of machine had before: run every minute, it deletes the machine after 30 min in which all of
/// its conditions failed.
struct NaiveScript {
    /// Without `pgrep` and `who`, which hardly ever let go.
    let looksAtFilesOnly: Bool
    private var processes, logins, connections, writing: Presence
    private var files: Instants
    private let jumps: [(at: Millis, by: Millis)]
    private var lastActive: Millis = 0
    private(set) var cause = "start"
    private(set) var isIdle = false

    private static let recent: Millis = 30 * .minute
    private static let patience: Millis = 30 * .minute

    init(_ truth: Truth, looksAtFilesOnly: Bool) {
        self.looksAtFilesOnly = looksAtFilesOnly
        func spans(_ mark: NaiveMarks) -> Presence {
            Presence(
                truth.sources.filter { $0.marks.contains(mark) }.map { ($0.begin, $0.phases.last?.from ?? 0) }
            )
        }
        processes = spans(.process)
        logins = spans(.login)
        connections = spans(.connection)
        writing = Presence(
            truth.sources.filter { $0.marks.contains(.output) }.flatMap { source in
                source.loads.filter { $0.share > 0.02 }.map { ($0.from, $0.to) }
            })
        files = Instants(
            truth.sources.filter { $0.marks.contains(.files) }.flatMap { source in
                source.happenings.map(\.at) + (source.probe == .claude ? source.phases.map(\.from) : [])
            })
        jumps = truth.jumps
    }

    /// A look once a minute.
    mutating func look(_ now: Millis) {
        let changed = max(files.last(now) ?? .min / 2, writing.last(now) ?? .min / 2)
        // It compares times of the wall clock.
        let wall = jumps.filter { changed < $0.at && $0.at <= now }.reduce(now - changed) { $0 + $1.by }
        let isConnected = connections.isThere(now)
        let isProcess = processes.isThere(now)
        let isLogin = logins.isThere(now)
        let active: String? =
            if wall < Self.recent { "recent files" } else if isConnected {
                "connections"
            } else if looksAtFilesOnly {
                nil
            } else if isProcess { "pgrep" } else if isLogin { "who" } else { nil }
        if let active { (lastActive, cause) = (now, active) }
        isIdle = now - lastActive >= Self.patience
    }
}
