/// Who gets through to a published port.
package enum PortAccess: String, Codable, Sendable {
    /// Whoever knows the web password.
    case basic
    /// Everybody.
    case `public`
}
