import FoundationEssentials
package import IdleDetector

/// Whose evidence a recording holds; the same for all of one run of samd.
package struct RecordingIdentity: Sendable, Equatable {
    package var vm: String
    package var bootID: String

    package init(vm: String, bootID: String) {
        self.vm = vm
        self.bootID = bootID
    }
}

/// A recording is damaged or not for this version; says what to do.
package struct IdleRecordingError: Error, Sendable, Equatable, CustomStringConvertible {
    package var file: String
    /// From 1; nil for the whole.
    package var line: Int?
    package var problem: String
    package var hint: String

    package var description: String {
        "\(file)\(line.map { ":\($0)" } ?? ""): \(problem); \(hint)"
    }
}

/// What led to verdicts, as JSON Lines: a header, then all evidence whenever it changed; docs/idle.md describes it.
///
/// A recording may go on with a further header: after a restart of samd, a rotation, or new settings.
package struct IdleRecording: Sendable, Equatable {
    package static let format = "samd-idle-recording"
    package static let version = 1
    /// The largest recording that is read.
    package static let maximumBytes = 64 << 20
    /// The longest line.
    package static let longestLine = LineBuffer.limitBytes

    /// Where and with what the policy begins.
    package struct Header: Codable, Sendable, Equatable {
        package var format: String
        package var version: Int
        /// The version of samd that wrote it.
        package var samd: String
        package var vm: String
        package var bootID: String
        package var at: Moment
        /// The wall clock at `at`, RFC 3339.
        package var time: String
        package var settings: [String: String]
        package var memory: IdlePolicy.Memory

        init(
            _ identity: RecordingIdentity, at: Moment, time: String, settings: [String: String],
            memory: IdlePolicy.Memory
        ) {
            (format, version) = (IdleRecording.format, IdleRecording.version)
            samd = SamdVersion.current
            (vm, bootID) = (identity.vm, identity.bootID)
            (self.at, self.time) = (at, time)
            (self.settings, self.memory) = (settings, memory)
        }

        /// The wall clock that it was recorded under.
        package var clock: WallClock {
            let seconds = Timestamp.date(time)?.timeIntervalSince1970 ?? 0
            return WallClock(
                bootMilliseconds: (Int64(exactly: (seconds * 1000).rounded()) ?? 0) &- at.milliseconds)
        }
    }

    /// A header and the evidence after it.
    package struct Segment: Sendable, Equatable {
        package var header: Header
        package var snapshots: [ActivitySnapshot] = []
    }

    package var segments: [Segment] = []

    /// Reads a recording.
    ///
    /// - Throws: `IdleRecordingError` with the first line that is not what samd wrote.
    package static func parse(_ bytes: [UInt8], file: String) throws(IdleRecordingError) -> IdleRecording {
        var recording = IdleRecording()
        let decoder = JSONDecoder()
        var number = 0
        for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            if line.isEmpty { continue }
            func damaged(_ problem: String) -> IdleRecordingError {
                IdleRecordingError(
                    file: file, line: number, problem: problem,
                    hint: "record it again, or remove that line if what is after it may be trusted")
            }
            guard line.count <= longestLine else { throw damaged("is longer than \(longestLine) bytes") }
            let data = Data(line)
            if let kind = try? decoder.decode(Kind.self, from: data) {
                try check(kind, file: file, line: number)
                guard let header = try? decoder.decode(Header.self, from: data) else {
                    throw damaged("is not the beginning of a recording as samd writes it")
                }
                recording.segments.append(Segment(header: header))
                continue
            }
            guard let snapshot = try? decoder.decode(ActivitySnapshot.self, from: data) else {
                throw damaged("is not a line that samd wrote, or only a part of one")
            }
            guard let segment = recording.segments.last else {
                throw IdleRecordingError(
                    file: file, line: number, problem: "comes before the line that begins a recording",
                    hint: "record it with samd idle record, whose first line says what follows")
            }
            guard snapshot.at >= segment.snapshots.last?.at ?? segment.header.at else {
                throw damaged("is from before the line above it")
            }
            recording.segments[recording.segments.count - 1].snapshots.append(snapshot)
        }
        guard recording.segments.contains(where: { !$0.snapshots.isEmpty }) else {
            throw IdleRecordingError(
                file: file, line: nil, problem: "holds no evidence",
                hint: "record it with samd idle record while samd runs")
        }
        return recording
    }

    /// What tells a header from evidence.
    private struct Kind: Decodable {
        var format: String
        var version: Int
    }

    private static func check(_ kind: Kind, file: String, line: Int) throws(IdleRecordingError) {
        guard kind.format == format else {
            throw IdleRecordingError(
                file: file, line: line,
                problem: "begins something else than a recording: \(kind.format.prefix(60))",
                hint: "give a file that samd idle record wrote")
        }
        guard kind.version <= version else {
            throw IdleRecordingError(
                file: file, line: line,
                problem: "is of version \(kind.version), this samd reads up to version \(version)",
                hint: "replay it with a newer samd")
        }
    }

    /// One line with its end.
    static func line(_ value: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return [] }
        return Array(data) + [UInt8(ascii: "\n")]
    }
}

/// Decides which evidence is recorded: what changed, at most once a second, the newest always. Pure.
///
/// Progress that goes on and on is recorded more rarely, so that the trace reaches hours back and not minutes.
struct IdleRecorder: Sendable {
    /// Between changes of any kind.
    static let pause: Duration = .seconds(1)
    /// Between changes that are nothing but the next progress or input of what went on before.
    static let progressPause: Duration = .seconds(30)

    private var last: ActivitySnapshot?
    private var lastAt: Moment?
    private(set) var nextAt: Moment?
    private var beginsAnew = true

    /// The next evidence begins a recording of its own.
    mutating func beginAnew() {
        beginsAnew = true
        last = nil
    }

    /// What to write of the newest evidence, and whether a header has to come before it.
    mutating func offer(_ snapshot: ActivitySnapshot, now: Moment) -> (ActivitySnapshot, isFirst: Bool)? {
        nextAt = nil
        let essence = Self.essence(snapshot)
        guard essence != last else { return nil }
        if !beginsAnew, let last, let lastAt {
            let pause = Self.isMereProgress(from: last, to: essence) ? Self.progressPause : Self.pause
            if now < lastAt + pause {
                nextAt = lastAt + pause
                return nil
            }
        }
        last = essence
        lastAt = now
        defer { beginsAnew = false }
        return (snapshot, isFirst: beginsAnew)
    }

    /// The evidence without the times that change with every look.
    private static func essence(_ snapshot: ActivitySnapshot) -> ActivitySnapshot {
        var essence = snapshot
        essence.at = .boot
        for index in essence.probes.indices where essence.probes[index].lastLook != nil {
            essence.probes[index].lastLook = .boot
        }
        return essence
    }

    /// Whether nothing changed but that signals went on to change, none after a pause, or that what counts nothing came and went.
    private static func isMereProgress(from old: ActivitySnapshot, to new: ActivitySnapshot) -> Bool {
        let (before, after) = (old.signals.filter(mayCount), new.signals.filter(mayCount))
        guard old.probes == new.probes, before.count == after.count else { return false }
        return zip(before, after).allSatisfy { old, new in
            if old == new { return true }
            var same = old
            same.changedAt = new.changedAt
            guard same == new, let before = old.changedAt, let after = new.changedAt else { return false }
            return after >= before && after - before < progressPause
        }
    }

    /// Of some kinds only a change counts; without one they are there for people to read.
    private static func mayCount(_ signal: Signal) -> Bool {
        switch signal.kind {
        case .agent, .job, .terminal, .terminalPane, .ssh, .transfer, .webPerson, .webBackground, .files:
            signal.changedAt != nil
        default: true
        }
    }
}
