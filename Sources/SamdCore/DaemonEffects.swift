package import CaddyConfig

/// What the state asks of the rest of the daemon; every call returns quickly, except those that say so.
package struct DaemonEffects: Sendable {
    /// Brings a document to Caddy, sometime soon; the newest wins.
    package var submit: @Sendable (CaddyDocument) -> Void
    /// Makes the relays exactly these; by name, why one cannot be had.
    package var setRelays: @Sendable ([RelayRequest]) -> [String: Refusal]
    /// Ends open connections, in the background.
    package var endConnections: @Sendable ([Revocation]) -> Void
    /// Writes the overrides to disk before it returns.
    package var saveOverrides: @Sendable ([PortOverrides.Entry]) throws -> Void
    /// Makes and saves a new web password for a user.
    package var renewPassword: @Sendable (String) throws -> WebCredentials
    /// What Caddy did not take with the routes.
    package var caddyExtras: @Sendable () -> CaddyExtras
    /// Shows systemd a line.
    package var showStatusLine: @Sendable (String) -> Void

    package init(
        submit: @escaping @Sendable (CaddyDocument) -> Void,
        setRelays: @escaping @Sendable ([RelayRequest]) -> [String: Refusal] = { _ in [:] },
        endConnections: @escaping @Sendable ([Revocation]) -> Void = { _ in },
        saveOverrides: @escaping @Sendable ([PortOverrides.Entry]) throws -> Void = { _ in },
        renewPassword: @escaping @Sendable (String) throws -> WebCredentials,
        caddyExtras: @escaping @Sendable () -> CaddyExtras = { CaddyExtras() },
        showStatusLine: @escaping @Sendable (String) -> Void = { _ in }
    ) {
        self.submit = submit
        self.setRelays = setRelays
        self.endConnections = endConnections
        self.saveOverrides = saveOverrides
        self.renewPassword = renewPassword
        self.caddyExtras = caddyExtras
        self.showStatusLine = showStatusLine
    }
}
