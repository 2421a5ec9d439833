/// One finished request, as Caddy's access log tells it.
package struct AccessLogEntry: Sendable, Equatable {
    /// When it ended, in seconds since 1970.
    package var time: Double
    /// The host asked for, lower case, without port; printable ASCII.
    package var host: String
    /// The method, for example `"GET"`.
    package var method: String
    /// The answer's status; 0 when there was none.
    package var status: Int
    /// Who passed basic authentication; nil: nobody.
    package var user: String?
    /// Bytes of the answer's body, after a change of protocol everything sent.
    package var bytesWritten: UInt64
    /// Bytes of the request's body.
    package var bytesRead: UInt64
    /// From beginning to end, in seconds.
    package var duration: Double
    /// The visitor's numeric address, without port; a proxy's when there is one in front of Caddy.
    package var remoteAddress: String
    /// Whether the browser says that a person navigated (`Sec-Fetch-User: ?1`).
    package var secFetchUser: Bool
    /// Whether it became a websocket or its like (status 101).
    package var isUpgrade: Bool

    /// Creates an entry.
    package init(
        time: Double, host: String, method: String, status: Int, user: String? = nil,
        bytesWritten: UInt64 = 0,
        bytesRead: UInt64 = 0, duration: Double = 0, remoteAddress: String = "", secFetchUser: Bool = false,
        isUpgrade: Bool = false
    ) {
        self.time = time
        self.host = host
        self.method = method
        self.status = status
        self.user = user
        self.bytesWritten = bytesWritten
        self.bytesRead = bytesRead
        self.duration = duration
        self.remoteAddress = remoteAddress
        self.secFetchUser = secFetchUser
        self.isUpgrade = isUpgrade
    }
}
