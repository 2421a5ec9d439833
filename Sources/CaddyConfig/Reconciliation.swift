/// One reader and writer of our server; remembers between calls what it learnt about this Caddy.
struct Reconciliation: Sendable {
    enum Change: Sendable, Equatable {
        /// Caddy had it already.
        case none
        case written
        /// Caddy had it once, and not any more.
        case repaired
    }

    private var features = CaddyFeatures()
    /// What Caddy was last seen to have.
    private var confirmed: JSONValue?

    /// Someone else who keeps changing our server at the same time is an error, not a reason to go on for ever.
    private static let maxAttempts = 5
    /// Each change restarts Caddy's admin endpoint, which may cut off a request.
    private static let pauseAfterInterruption = Duration.milliseconds(20)

    /// Brings Caddy's server to the document.
    mutating func reconcile(
        _ document: CaddyDocument, through admin: CaddyAdminClient
    ) async throws(CaddyError) -> Change {
        var lastError: CaddyError?
        var mayHaveWritten = false
        for _ in 0..<Self.maxAttempts {
            do throws(CaddyError) {
                return try await reconcileOnce(document, through: admin, mayHaveWritten: &mayHaveWritten)
            } catch {
                switch error.kind {
                case .conflict: break
                case .interrupted: try? await Task.sleep(for: Self.pauseAfterInterruption)
                case .refused
                where features.streamCloseDelay && error.isAbout(unknownField: "stream_close_delay"):
                    features.streamCloseDelay = false
                case .unreachable:
                    // It may come back as another version.
                    features = CaddyFeatures()
                    throw error
                case .refused, .foreign: throw error
                }
                if error.kind != .interrupted { mayHaveWritten = false }
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

    /// Reads, compares, writes if need be. `mayHaveWritten`: a write of which nobody knows whether it came through.
    private mutating func reconcileOnce(
        _ document: CaddyDocument, through admin: CaddyAdminClient, mayHaveWritten: inout Bool
    ) async throws(CaddyError) -> Change {
        let key = CaddyRenderer.serverKey
        let wanted = CaddyRenderer(features: features).render(document)
        let wasConfirmed = confirmed == wanted
        guard let current = try await admin.readServer(key: key) else {
            try await checkIDIsFree(admin)
            mayHaveWritten = true
            try await admin.createServer(key: key, wanted)
            confirmed = wanted
            return wasConfirmed ? .repaired : .written
        }
        try check(isOurs: current, admin: admin)
        if current.value == wanted {
            confirmed = wanted
            return mayHaveWritten ? .written : .none
        }
        mayHaveWritten = true
        try await admin.replaceServer(key: key, wanted, etag: current.etag)
        confirmed = wanted
        return wasConfirmed ? .repaired : .written
    }

    private func check(isOurs current: CaddyObject, admin: CaddyAdminClient) throws(CaddyError) {
        if current.value["@id"]?.stringValue == CaddyRenderer.serverID { return }
        throw CaddyError(
            operation: "write server \"\(CaddyRenderer.serverKey)\" in Caddy at \(admin.endpoint)",
            kind: .foreign,
            detail:
                "a server of that name exists and is not ours (it lacks \"@id\": \"\(CaddyRenderer.serverID)\")",
            hint: "rename that server in Caddy's configuration")
    }

    /// An id of ours under another key would make Caddy refuse ours (2.11), or answer with either (2.6).
    private func checkIDIsFree(_ admin: CaddyAdminClient) async throws(CaddyError) {
        guard let other = try await admin.readObject(id: CaddyRenderer.serverID) else { return }
        throw CaddyError(
            operation: "add server \"\(CaddyRenderer.serverKey)\" to Caddy at \(admin.endpoint)",
            kind: .foreign,
            detail: "\"@id\": \"\(CaddyRenderer.serverID)\" is in use at \(other.path ?? "another place")",
            hint: "remove that \"@id\" from Caddy's configuration")
    }
}
