/// Follows the transcript of one session as it grows.
struct TranscriptFollower {
    /// Bytes from the end of a transcript that are read when it is seen first.
    static let backlogLimitBytes: Int64 = 4 << 20
    /// Bytes of one read; a line that is longer is passed over.
    private static let readBytes = 256 << 10
    /// Reads of one look at one session, and at all; what is beyond waits for the next.
    private static let readLimit = 17
    static let sharedReadLimit = 256
    /// Project folders in which a session is looked for, transcripts of one, files of its agents.
    private static let projectLimit = 512
    private static let transcriptLimit = 1024
    private static let agentLimit = 256
    /// How long a search through all projects holds, successful or not.
    private static let searchPause: Duration = .seconds(60)

    /// Where a transcript is, below the config dir.
    private struct Place: Equatable {
        var project: String
        var name: String
    }

    private var place: Place?
    private var searchedAt: Moment?
    private var identity: (device: UInt64, inode: UInt64)?
    /// The size that was seen last, and how much of it was taken.
    private var sizeBytes: Int64 = 0
    private var taken: Int64 = 0
    private var isInLongLine = false
    private var agentBytes: Int64?
    /// What the end said, when the transcript had that size.
    private var turn: (sizeBytes: Int64, value: TranscriptTail.Turn)?
    /// What the transcript says about planned work.
    private(set) var wakeUps = ScheduledWakeUps()

    init() {}

    /// Whether there is one.
    var isFound: Bool { identity != nil }

    /// Looks at the transcript.
    ///
    /// - Parameters:
    ///   - sessionID: the session; nil: whichever of the folder's was written last.
    ///   - folder: the session's working directory.
    ///   - budget: reads that are left; counted down.
    /// - Returns: whether it, or one of its agents', grew since the last look.
    mutating func look(
        sessionID: String?, folder: String, home: ClaudeHome, in root: borrowing GuardedRoot, at now: Moment,
        budget: inout Int
    ) -> Bool {
        find(sessionID, folder, home, root, now)
        guard let place, let project = try? root.folder("\(home.path)/projects/\(place.project)"),
            let file = try? project.file(place.name)
        else {
            forget()
            return false
        }
        let status = file.status
        let isSame = identity.map { $0 == (status.device, status.inode) } ?? false
        if !isSame || status.sizeBytes < taken {
            forget()
            taken = max(0, status.sizeBytes - Self.backlogLimitBytes)
            isInLongLine = taken > 0
        }
        identity = (status.device, status.inode)
        var grew = isSame && status.sizeBytes != sizeBytes
        sizeBytes = status.sizeBytes
        take(file, budget: &budget)
        let bytes = Self.agentBytes(of: place.name, in: project)
        grew = grew || agentBytes.map { bytes != $0 } ?? false
        agentBytes = bytes
        return grew
    }

    /// What the end of the transcript that the last look found says about the session's turn.
    mutating func turn(home: ClaudeHome, in root: borrowing GuardedRoot) -> TranscriptTail.Turn {
        if let turn, turn.sizeBytes == sizeBytes { return turn.value }
        guard let place, let file = try? root.file("\(home.path)/projects/\(place.project)/\(place.name)")
        else {
            return .unknown
        }
        let start = max(0, file.status.sizeBytes - Int64(TranscriptTail.limitBytes))
        guard let text = try? file.read(from: start, limitBytes: TranscriptTail.limitBytes) else {
            return .unknown
        }
        let value = TranscriptTail.turn(text, isWhole: start == 0)
        turn = (sizeBytes, value)
        return value
    }

    /// The folder of `projects/` that Claude Code makes of a working directory: what is no letter or digit becomes `-`.
    static func slug(_ folder: String) -> String {
        String(
            decoding: folder.utf16.map { unit -> UInt8 in
                switch unit {
                case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: UInt8(unit)
                default: UInt8(ascii: "-")
                }
            }, as: UTF8.self)
    }

    /// Whether a text is one that may stand for a session in a file's name.
    static func isSessionID(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                    || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
            }
    }

    // MARK: - Parts

    private mutating func forget() {
        identity = nil
        sizeBytes = 0
        taken = 0
        isInLongLine = false
        agentBytes = nil
        turn = nil
        wakeUps = ScheduledWakeUps()
    }

    private mutating func find(
        _ sessionID: String?, _ folder: String, _ home: ClaudeHome, _ root: borrowing GuardedRoot,
        _ now: Moment
    ) {
        guard let sessionID else {
            if let searchedAt, now - searchedAt < Self.searchPause, place != nil { return }
            searchedAt = now
            move(to: Self.newest(in: Self.slug(folder), home, root))
            return
        }
        guard Self.isSessionID(sessionID) else { return move(to: nil) }
        let name = "\(sessionID).jsonl"
        if let place, place.name == name, identity != nil { return }
        let likely = Place(project: Self.slug(folder), name: name)
        if likely.project.utf8.count <= 255,
            (try? root.status("\(home.path)/projects/\(likely.project)/\(name)"))?.isFile == true
        {
            return move(to: likely)
        }
        // Another session may have moved, and the names of long paths end in a hash.
        if let searchedAt, now - searchedAt < Self.searchPause, place == nil || place?.name == name { return }
        searchedAt = now
        move(to: Self.search(name, home, root))
    }

    private mutating func move(to found: Place?) {
        guard found != place else { return }
        forget()
        place = found
    }

    private static func search(_ name: String, _ home: ClaudeHome, _ root: borrowing GuardedRoot) -> Place? {
        guard let projects = try? root.folder("\(home.path)/projects") else { return nil }
        var names: [String] = []
        _ = try? projects.forEachName(limit: projectLimit) { project in
            names.append(project)
            return true
        }
        for project in names {
            guard let folder = try? projects.folder(project), (try? folder.status(of: name))?.isFile == true
            else { continue }
            return Place(project: project, name: name)
        }
        return nil
    }

    private static func newest(in project: String, _ home: ClaudeHome, _ root: borrowing GuardedRoot)
        -> Place?
    {
        guard project.utf8.count <= 255, let folder = try? root.folder("\(home.path)/projects/\(project)")
        else { return nil }
        var names: [String] = []
        _ = try? folder.forEachName(limit: transcriptLimit) { name in
            if name.hasSuffix(".jsonl") { names.append(name) }
            return true
        }
        var newest: (name: String, modifiedAt: Int64)?
        for name in names {
            guard let status = try? folder.status(of: name), status.isFile else { continue }
            if newest.map({ status.modifiedAt > $0.modifiedAt }) ?? true {
                newest = (name, status.modifiedAt)
            }
        }
        return newest.map { Place(project: project, name: $0.name) }
    }

    /// The bytes of the transcripts of a session's agents: `<session>/subagents/`.
    private static func agentBytes(of name: String, in project: borrowing GuardedFolder) -> Int64 {
        guard let session = try? project.folder(String(name.dropLast(6))),
            let agents = try? session.folder("subagents")
        else { return 0 }
        var names: [String] = []
        _ = try? agents.forEachName(limit: agentLimit) { name in
            if name.hasSuffix(".jsonl") { names.append(name) }
            return true
        }
        return names.reduce(0) { sum, name in sum &+ ((try? agents.status(of: name))?.sizeBytes ?? 0) }
    }

    /// Takes whole lines from where the last look ended.
    private mutating func take(_ file: borrowing GuardedFile, budget: inout Int) {
        for _ in 0..<Self.readLimit where taken < sizeBytes && budget > 0 {
            budget -= 1
            guard let text = try? file.read(from: taken, limitBytes: Self.readBytes), !text.isEmpty else {
                return
            }
            guard let last = text.lastIndex(of: UInt8(ascii: "\n")) else {
                // The rest of a line that is being written, or a line that is too long.
                guard text.count == Self.readBytes else { return }
                isInLongLine = true
                taken += Int64(text.count)
                continue
            }
            var start = 0
            while start <= last, let end = text[start...].firstIndex(of: UInt8(ascii: "\n")) {
                if !isInLongLine { wakeUps.take(text, in: start..<end) }
                isInLongLine = false
                start = end + 1
            }
            taken += Int64(last + 1)
        }
    }
}
