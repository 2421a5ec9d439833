/// The short form of the verdict in `GET /v1/status`.
package struct IdleSummary: Codable, Sendable, Equatable {
    package var state: String
    package var since: String?
    package var deadline: String?
    package var claude: String?
    /// A few words: `active, Claude works`.
    package var summary: String
}
