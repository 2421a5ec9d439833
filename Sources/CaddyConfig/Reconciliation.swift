internal import Glibc

/// One reader and writer of what is ours in Caddy; remembers between calls what it learnt about this Caddy.
///
/// The server is read each time. The shared places are read when something is wanted of them that they were not seen to
/// have, when the server is missing or someone else changed it, and at intervals. Logs come first: while one of ours
/// cannot be opened, Caddy refuses every change. Certificates come before the server that needs them and go after it.
struct Reconciliation: Sendable {
    enum Change: Sendable, Comparable {
        /// Caddy had it already.
        case none
        case written
        /// Caddy had it once, and not any more.
        case repaired
    }

    /// How the question was asked.
    struct Occasion: Sendable {
        var now: SuspendingClock.Instant
        /// Somebody asks anew: what failed a while ago is tried again.
        var isNew = false
        /// How often shared places are looked at, and refused ones tried again, when nobody asks.
        var sharedInterval: Duration = .seconds(60)
    }

    /// A piece that Caddy did not take, or that was not worth asking for.
    private struct Failure<Subject: Equatable & Sendable>: Sendable {
        var subject: Subject
        var reason: String
        var since: SuspendingClock.Instant
        var isMissingSocket = false
    }

    /// What one call of `reconcile` is at.
    private struct Progress {
        enum Stage { case log, tls, server }
        var stage = Stage.server
        var done = Change.none
        /// A write of which nobody knows whether it came through.
        var unsure = Change.none
        /// Whether Caddy's server has the wanted kind of TLS, whatever the certificates.
        var hasWantedTLS = false
    }

    private var features = CaddyFeatures()
    /// The server that Caddy was last seen to have.
    private var confirmed: JSONValue?
    /// What the shared places were last seen to have.
    private var confirmedPieces: SharedPieces?
    private var piecesDue: SuspendingClock.Instant?
    private var logFailure: Failure<String>?
    private var tlsFailure: Failure<CaddyTLS>?
    /// How many writes were sent.
    private(set) var writeCount: UInt64 = 0

    /// Someone else who keeps changing the same things at the same time is an error, not a reason to go on for ever.
    private static let maxConflicts = 5
    /// Each change restarts Caddy's admin endpoint, which may cut off a request.
    private static let pauseAfterInterruption = Duration.milliseconds(20)
    /// What was refused is not asked for again before, however many documents come.
    private static let shortestPieceRetry = Duration.seconds(1)

    /// What is missing beside the routes.
    var extras: CaddyExtras {
        var extras = CaddyExtras()
        extras.accessLog = logFailure?.reason
        extras.tls = tlsFailure?.reason
        return extras
    }

    /// Brings Caddy's configuration to the document.
    mutating func reconcile(
        _ document: CaddyDocument, on occasion: Occasion, through admin: CaddyAdminClient
    ) async throws(CaddyError) -> Change {
        forgetFailures(document, on: occasion)
        var progress = Progress()
        var lastError: CaddyError?
        var conflicts = 0
        while conflicts < Self.maxConflicts {
            do throws(CaddyError) {
                try await reconcileOnce(document, on: occasion, through: admin, &progress)
                return max(progress.done, progress.unsure)
            } catch {
                if error.kind != .interrupted { progress.unsure = .none }
                switch error.kind {
                case .conflict: conflicts += 1
                case .interrupted:
                    conflicts += 1
                    try? await Task.sleep(for: Self.pauseAfterInterruption)
                case .refused, .foreign:
                    // Each of these happens once at most, so that the loop ends.
                    if features.learn(from: error) { break }
                    if setAside(after: error, document, on: occasion, progress) { break }
                    throw error
                case .unreachable:
                    // It may come back as another version, and with another configuration.
                    features = CaddyFeatures()
                    confirmedPieces = nil
                    throw error
                }
                lastError = error
            }
        }
        guard var error = lastError else { return .none }
        if error.kind == .conflict {
            error.kind = .refused
            error.hint = "something else keeps writing the server \"\(CaddyRenderer.serverKey)\" in Caddy"
        }
        if error.kind == .interrupted { error.kind = .unreachable }
        throw error
    }

    // MARK: One attempt

    /// Reads, compares, writes what differs.
    private mutating func reconcileOnce(
        _ document: CaddyDocument, on occasion: Occasion, through admin: CaddyAdminClient,
        _ progress: inout Progress
    ) async throws(CaddyError) {
        var document = document
        if logFailure != nil { document.accessLog = nil }
        let wanted = CaddyRenderer(features: features).render(document)
        let pieces = SharedPieces(tls: document.tls, accessLog: document.accessLog, features: features)
        progress.stage = .server
        let current = try await admin.readServer(key: CaddyRenderer.serverKey)
        if let current {
            try check(isOurs: current, admin: admin)
        } else {
            try await checkIsFree(CaddyRenderer.serverID, admin)
        }
        progress.hasWantedTLS =
            current.map { $0.value["tls_connection_policies"] == wanted["tls_connection_policies"] } ?? false
        let isDue =
            pieces != confirmedPieces || current == nil || current?.value != confirmed
            || piecesDue.map { $0 <= occasion.now } ?? true
        if isDue {
            let before = [SharedPlace.authorities, .certificates].filter { pieces.isWanted(at: $0) }
            for place in [.logging] + before { try await bring(pieces, to: place, through: admin, &progress) }
        }
        if current?.value != wanted {
            progress.stage = .server
            let kind: Change = confirmed == wanted ? .repaired : .written
            try await write(kind, &progress) { () async throws(CaddyError) in
                if let current {
                    try await admin.replaceServer(key: CaddyRenderer.serverKey, wanted, etag: current.etag)
                } else {
                    try await admin.createServer(key: CaddyRenderer.serverKey, wanted)
                }
            }
        }
        confirmed = wanted
        guard isDue else { return }
        for place in [SharedPlace.certificates, .authorities] where !pieces.isWanted(at: place) {
            try await bring(pieces, to: place, through: admin, &progress)
        }
        confirmedPieces = pieces
        piecesDue = occasion.now.advanced(by: occasion.sharedInterval)
    }

    /// Makes one shared place as wanted.
    private mutating func bring(
        _ pieces: SharedPieces, to place: SharedPlace, through admin: CaddyAdminClient,
        _ progress: inout Progress
    ) async throws(CaddyError) {
        progress.stage = place == .logging ? .log : .tls
        if place != .logging, tlsFailure != nil { return }
        let current = try await admin.read(place)
        let merged: JSONValue?
        do {
            merged = try pieces.merged(into: current?.value, at: place)
        } catch {
            throw CaddyError(
                operation: "write \(place.rawValue) in Caddy at \(admin.endpoint)", kind: .foreign,
                detail: error.detail, hint: error.hint)
        }
        if merged == current?.value { return }
        if pieces.isWanted(at: place) {
            // The same id elsewhere makes Caddy refuse ours (2.11), or answer with either (2.6).
            let text = current?.value.compact ?? ""
            for id in place.ids where !text.contains("\"\(id)\"") { try await checkIsFree(id, admin) }
        }
        try await write(pieces == confirmedPieces ? .repaired : .written, &progress) {
            () async throws(CaddyError) in
            try await admin.write(merged, to: place, replacing: current)
        }
    }

    private mutating func write(
        _ kind: Change, _ progress: inout Progress, send: () async throws(CaddyError) -> Void
    ) async throws(CaddyError) {
        progress.unsure = max(progress.unsure, kind)
        writeCount += 1
        try await send()
        progress.done = max(progress.done, kind)
    }

    // MARK: Pieces that fail

    /// Lets what failed be tried again when it is time; a log whose socket is missing is not even asked for.
    private mutating func forgetFailures(_ document: CaddyDocument, on occasion: Occasion) {
        func isDue(since: SuspendingClock.Instant) -> Bool {
            let age = since.duration(to: occasion.now)
            return age >= occasion.sharedInterval || occasion.isNew && age >= Self.shortestPieceRetry
        }
        if let failure = tlsFailure, failure.subject != document.tls || isDue(since: failure.since) {
            tlsFailure = nil
            confirmedPieces = nil
        }
        guard let path = document.accessLog else {
            logFailure = nil
            return
        }
        if let failure = logFailure, failure.subject == path, !failure.isMissingSocket,
            !isDue(since: failure.since)
        {
            return
        }
        logFailure = nil
        // One that Caddy has already may be without a reader for a while.
        if confirmedPieces?.accessLog != path, !Self.isSocket(path) {
            logFailure = Failure(
                subject: path, reason: "there is no socket at \(path)", since: occasion.now,
                isMissingSocket: true)
        }
    }

    /// Whether the error is about a piece that can be left out, so that the rest comes through; notes it.
    private mutating func setAside(
        after error: CaddyError, _ document: CaddyDocument, on occasion: Occasion, _ progress: Progress
    ) -> Bool {
        // Caddy's words when it cannot open a log, whatever was being changed.
        let isAboutLog = error.detail.contains("custom log '\(SharedPieces.loggerName)'")
        if let path = document.accessLog, logFailure == nil, progress.stage == .log || isAboutLog {
            logFailure = Failure(subject: path, reason: error.reason, since: occasion.now)
            return true
        }
        // Certificates that are in use go on being used.
        if progress.stage == .tls, progress.hasWantedTLS, tlsFailure == nil {
            tlsFailure = Failure(subject: document.tls, reason: error.reason, since: occasion.now)
            return true
        }
        return false
    }

    private static func isSocket(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
    }

    // MARK: Others' things

    private func check(isOurs current: CaddyObject, admin: CaddyAdminClient) throws(CaddyError) {
        if current.value["@id"]?.stringValue == CaddyRenderer.serverID { return }
        throw CaddyError(
            operation: "write server \"\(CaddyRenderer.serverKey)\" in Caddy at \(admin.endpoint)",
            kind: .foreign,
            detail:
                "a server of that name exists and is not ours (it lacks \"@id\": \"\(CaddyRenderer.serverID)\")",
            hint: "rename that server in Caddy's configuration")
    }

    /// An id of ours somewhere else would make Caddy refuse ours (2.11), or answer with either (2.6).
    private func checkIsFree(_ id: String, _ admin: CaddyAdminClient) async throws(CaddyError) {
        guard let other = try await admin.readObject(id: id) else { return }
        throw CaddyError(
            operation: "add \"\(id)\" to Caddy at \(admin.endpoint)", kind: .foreign,
            detail: "\"@id\": \"\(id)\" is in use at \(other.path ?? "another place")",
            hint: "remove that \"@id\" from Caddy's configuration")
    }
}
