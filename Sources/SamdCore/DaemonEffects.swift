package import CaddyConfig

/// What the state asks of the rest of the daemon; every call returns quickly, except those that say so.
package struct DaemonEffects: Sendable {
    /// Brings a document to Caddy, sometime soon; the newest wins.
    package var submit: @Sendable (CaddyDocument) -> Void
    /// Makes the relays exactly these, in the background; `DaemonState.relaysReported` is told the result.
    package var setRelays: @Sendable ([RelayRequest]) -> Void
    /// Ends the connections that routes have now; returns when that is done.
    package var endConnections: @Sendable ([Route]) async -> Void
    /// Returns after a while.
    package var pause: @Sendable (Duration) async -> Void
    /// Writes the overrides to disk before it returns.
    package var saveOverrides: @Sendable ([PortOverrides.Entry]) throws -> Void
    /// Writes the overrides to disk in the background, behind what was saved before.
    package var saveOverridesSoon: @Sendable ([PortOverrides.Entry]) -> Void
    /// The saved web password under a user's name, or a new one.
    package var loadCredentials: @Sendable (String) throws -> WebCredentials
    /// Makes and saves a new web password for a user.
    package var renewPassword: @Sendable (String) throws -> WebCredentials
    /// What Caddy did not take with the routes.
    package var caddyExtras: @Sendable () -> CaddyExtras
    /// Shows systemd a line.
    package var showStatusLine: @Sendable (String) -> Void

    package init(
        submit: @escaping @Sendable (CaddyDocument) -> Void,
        setRelays: @escaping @Sendable ([RelayRequest]) -> Void = { _ in },
        endConnections: @escaping @Sendable ([Route]) async -> Void = { _ in },
        pause: @escaping @Sendable (Duration) async -> Void = { duration in
            try? await Task.sleep(for: duration, clock: .suspending)
        },
        saveOverrides: @escaping @Sendable ([PortOverrides.Entry]) throws -> Void = { _ in },
        saveOverridesSoon: @escaping @Sendable ([PortOverrides.Entry]) -> Void = { _ in },
        loadCredentials: @escaping @Sendable (String) throws -> WebCredentials,
        renewPassword: @escaping @Sendable (String) throws -> WebCredentials,
        caddyExtras: @escaping @Sendable () -> CaddyExtras = { CaddyExtras() },
        showStatusLine: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.submit = submit
        self.setRelays = setRelays
        self.endConnections = endConnections
        self.pause = pause
        self.saveOverrides = saveOverrides
        self.saveOverridesSoon = saveOverridesSoon
        self.loadCredentials = loadCredentials
        self.renewPassword = renewPassword
        self.caddyExtras = caddyExtras
        self.showStatusLine = showStatusLine
    }
}
