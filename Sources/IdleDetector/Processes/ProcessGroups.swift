/// Processes whose progress counts as one.
enum ProcessGroup: Hashable {
    /// A tool of Claude's, or an orphan: a session.
    case tool(session: Int32)
    /// Another agent with what it runs: its first process.
    case agent(root: Int32)
    /// A job: what shares control group and session.
    case job(cgroup: String, session: Int32)
}

/// How processes are named to people.
struct ProcessWords {
    /// Bytes of a name or a text that are shown.
    static let textLimitBytes = 96

    /// The name of a user; nil: it has none.
    var userName: @Sendable (UInt32) -> String?

    /// `make (pid 812) of dev in dc1`.
    func subject(_ entry: ProcessEntry, name: String? = nil, place: String? = nil) -> String {
        var text = "\(Self.printable(name ?? entry.name)) (pid \(entry.pid)) of \(user(entry.uid))"
        if let container = entry.container { text += " in \(Self.printable(container))" }
        if let place { text += ", \(place)" }
        return text
    }

    func user(_ uid: UInt32) -> String { userName(uid).map { Self.printable($0) } ?? "uid \(uid)" }

    /// Without control characters, at most `textLimitBytes`; `?` for nothing.
    static func printable(_ text: String) -> String {
        var scalars = String.UnicodeScalarView()
        var bytes = 0
        for scalar in text.unicodeScalars {
            bytes += UTF8.width(scalar)
            guard bytes <= textLimitBytes else { break }
            let isHidden =
                scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
                || scalar.value == 0x2028 || scalar.value == 0x2029
            scalars.append(isHidden ? "\u{fffd}" : scalar)
        }
        return scalars.isEmpty ? "?" : String(scalars)
    }
}
