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

/// A certificate with its intermediates and its private key, in PEM form. Caddy gets the text, not the files' names: it reads
/// files again at every change, so that a broken one would keep it from withdrawing a port.
///
/// Holds a secret: its description shows nothing of it.
package struct CertificatePair: Sendable, Equatable, CustomStringConvertible {
    package var certificate: String
    package var key: String

    package init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }

    package var description: String { "CertificatePair" }
}

/// How our server's connections are encrypted.
package enum CaddyTLS: Sendable, Equatable {
    /// Plain HTTP.
    case off
    /// By Caddy's own certificate authority.
    ///
    /// - Parameter subjects: the names on its certificates, for example `"*.example.com"`; a wildcard covers one label.
    case `internal`(subjects: [String])
    /// By a certificate and its key.
    case certificate(CertificatePair)
}

/// Everything that Caddy is to serve for us.
package struct CaddyDocument: Sendable, Equatable {
    /// Addresses in Caddy's form, for example `"127.0.0.1:8080"`, `"[::1]:8080"`, `"unix//run/x.sock"`.
    package var listen: [String]
    /// Asked for on every route that is not public.
    package var account: WebAccount
    /// Sorted by id, so that equal sets make equal documents.
    package private(set) var routes: [Route]
    /// How visitors' connections are encrypted.
    package var tls: CaddyTLS
    /// The absolute path of the unix socket that gets a line for each request; nil: none.
    package var accessLog: String?
    /// CIDRs of the proxies in front of Caddy whose `X-Forwarded-*` are believed and passed on. All others' are replaced.
    package var trustedProxies: [String]

    /// Creates a document; routes may come in any order.
    package init(
        listen: [String], account: WebAccount, routes: [Route], tls: CaddyTLS = .off,
        accessLog: String? = nil, trustedProxies: [String] = []
    ) {
        self.listen = listen
        self.account = account
        self.routes = routes.sorted { ($0.id, $0.upstream) < ($1.id, $1.upstream) }
        self.tls = tls
        self.accessLog = accessLog
        self.trustedProxies = trustedProxies
    }
}
