// The values of the local API about notifications; docs/api.yaml describes them. Fields are added, never renamed or removed.

/// `POST /v1/notify/test`.
package struct NotifyTestReport: Codable, Sendable, Equatable {
    /// What became of the test by one way.
    package struct Result: Codable, Sendable, Equatable {
        /// `webhook` or `command`.
        package var way: String
        /// Scheme and host, or the program.
        package var target: String
        package var delivered: Bool
        /// `HTTP 200`, or why it failed.
        package var detail: String
    }

    package var results: [Result]
}
