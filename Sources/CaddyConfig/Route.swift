/// One published port: these host names lead to that upstream.
package struct Route: Sendable, Equatable {
    /// Stable name of the route, for example `"p3000"`; unique within a document.
    package var id: String
    /// Host names without port, lower case.
    package var hosts: [String]
    /// What Caddy dials, for example `"127.0.0.1:3000"`, `"[::1]:3000"` or `"unix//run/x.sock"`.
    package var upstream: String
    /// The `Host` that the upstream sees, for example `"localhost:3000"`: many development servers refuse others.
    package var upstreamHost: String
    /// Whether strangers get through. Otherwise the document's account is asked for.
    package var isPublic: Bool
    /// Who listens there, in the caller's words. Caddy is not told; another listener behind an equal route is another route.
    package var listener: String

    /// Creates a route; nothing is checked.
    package init(
        id: String, hosts: [String], upstream: String, upstreamHost: String, isPublic: Bool = false,
        listener: String = ""
    ) {
        self.id = id
        self.hosts = hosts
        self.upstream = upstream
        self.upstreamHost = upstreamHost
        self.isPublic = isPublic
        self.listener = listener
    }
}

/// Who may pass, as Caddy needs it: without the password.
package struct WebAccount: Sendable, Equatable {
    /// The user's name.
    package var user: String
    /// A bcrypt hash, `$2a$`, `$2b$` or `$2y$`.
    package var passwordHash: String

    /// Creates an account.
    package init(user: String, passwordHash: String) {
        self.user = user
        self.passwordHash = passwordHash
    }
}

/// Everything that Caddy is to serve for us.
package struct CaddyDocument: Sendable, Equatable {
    /// Addresses in Caddy's form, for example `"127.0.0.1:8080"`, `"[::1]:8080"`, `"unix//run/x.sock"`.
    package var listen: [String]
    /// Asked for on every route that is not public.
    package var account: WebAccount
    /// Sorted by id, so that equal sets make equal documents.
    package private(set) var routes: [Route]

    /// Creates a document; routes may come in any order.
    package init(listen: [String], account: WebAccount, routes: [Route]) {
        self.listen = listen
        self.account = account
        self.routes = routes.sorted { ($0.id, $0.upstream) < ($1.id, $1.upstream) }
    }
}
