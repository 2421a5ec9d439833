/// What the running Caddy knows.
package struct CaddyFeatures: Sendable, Equatable {
    /// `stream_close_delay` (Caddy ≥ 2.7): websockets survive changes of the configuration. Earlier versions refuse a
    /// configuration that has the field.
    package var streamCloseDelay: Bool
    /// `soft_start` of a log (Caddy ≥ 2.8): a configuration is taken although nobody listens on the log's socket.
    package var softStart: Bool

    /// Assumes a current Caddy.
    package init(streamCloseDelay: Bool = true, softStart: Bool = true) {
        self.streamCloseDelay = streamCloseDelay
        self.softStart = softStart
    }

    /// Takes away the feature that Caddy refused; false when it refused something else.
    mutating func learn(from error: CaddyError) -> Bool {
        if streamCloseDelay, error.isAbout(unknownField: "stream_close_delay") {
            streamCloseDelay = false
        } else if softStart, error.isAbout(unknownField: "soft_start") {
            softStart = false
        } else {
            return false
        }
        return true
    }
}

/// Turns a document into Caddy's JSON for one HTTP server. Pure.
package struct CaddyRenderer: Sendable {
    /// The server's key under `apps.http.servers`.
    package static let serverKey = "samd"
    /// The server's `@id`; a server with our key and without it is someone else's.
    package static let serverID = "samd_server"
    /// How long open websockets outlive a change. Whoever withdraws a port has to end its streams himself.
    package static let streamCloseDelay = "24h"

    private let features: CaddyFeatures

    /// Renders for a Caddy with these features.
    package init(features: CaddyFeatures) {
        self.features = features
    }

    /// The server object.
    package func render(_ document: CaddyDocument) -> JSONValue {
        let routes = document.routes.map { route($0, of: document) }
        var server: [String: JSONValue] = [
            "@id": .string(Self.serverID),
            "listen": .array(document.listen.map { .string($0) }),
            "automatic_https": ["disable": true],
            "routes": .array(Self.strangers(document) + routes + [Self.notFound]),
            "errors": ["routes": [Self.unavailable]],
        ]
        if document.accessLog != nil {
            server["logs"] = ["default_logger_name": .string(SharedPieces.loggerName)]
        }
        if let policy = Self.connectionPolicy(document.tls) {
            server["tls_connection_policies"] = [policy]
            // Not HTTP/3: it would open a UDP port beside the TCP one, and carries no websockets.
            server["protocols"] = ["h1", "h2"]
        }
        return .object(server)
    }

    /// How a visitor's certificate is chosen; nil: plain HTTP.
    private static func connectionPolicy(_ tls: CaddyTLS) -> JSONValue? {
        switch tls {
        case .off: nil
        case .internal: [:]
        case .certificate: ["certificate_selection": ["any_tag": [.string(SharedPieces.certificateTag)]]]
        }
    }

    /// Takes the credentials of any other user away before they are looked at. For a user it does not know Caddy compares
    /// with a hash of its own at bcrypt cost 14, so that anyone could make it burn 1 to 2 s of CPU with each request.
    private static func strangers(_ document: CaddyDocument) -> [JSONValue] {
        let hosts = document.routes.filter { !$0.isPublic }.flatMap(\.hosts)
        if hosts.isEmpty { return [] }
        let pattern = BasicCredentials.pattern(forUser: document.account.user)
        return [
            [
                "match": [
                    [
                        "host": .array(hosts.map { .string($0) }),
                        // Not header_regexp: of several such headers it takes any, and Caddy's authentication the first.
                        "not": [
                            [
                                "vars_regexp": [
                                    "{http.request.header.Authorization}": ["pattern": .string(pattern)]
                                ]
                            ]
                        ],
                    ]
                ],
                "handle": [["handler": "headers", "request": ["delete": ["Authorization"]]]],
            ]
        ]
    }

    private func route(_ route: Route, of document: CaddyDocument) -> JSONValue {
        let proxy = proxy(route, trustedProxies: document.trustedProxies)
        return [
            "match": [["host": .array(route.hosts.map { .string($0) })]],
            "handle": route.isPublic ? [proxy] : [Self.authentication(document.account), proxy],
            "terminal": true,
        ]
    }

    private static func authentication(_ account: WebAccount) -> JSONValue {
        [
            "handler": "authentication",
            "providers": [
                "http_basic": [
                    "accounts": [
                        ["username": .string(account.user), "password": .string(account.passwordHash)]
                    ],
                    "hash": ["algorithm": "bcrypt"],
                    "hash_cache": [:],
                    "realm": "samd",
                ]
            ],
        ]
    }

    /// Unused connections to the upstream end soon. Each change leaves some behind in the handlers that it replaces, and with
    /// Caddy's own 2 minutes frequent changes use up the descriptors of a server. Node.js closes them after 5 s itself, which a
    /// request on its way there would meet. The other two are Caddy's own, which 2.6 forgets where one is set.
    private static let transport: JSONValue = [
        "protocol": "http",
        "keep_alive": ["idle_timeout": "4s", "max_idle_conns_per_host": 32, "probe_interval": "30s"],
    ]

    private func proxy(_ route: Route, trustedProxies: [String]) -> JSONValue {
        var request: [String: JSONValue] = ["set": ["Host": [.string(route.upstreamHost)]]]
        // On a public route the header is the upstream's own business.
        if !route.isPublic { request["delete"] = ["Authorization"] }
        var proxy: [String: JSONValue] = [
            "handler": "reverse_proxy",
            "upstreams": [["dial": .string(route.upstream)]],
            "headers": ["request": .object(request)],
            "transport": Self.transport,
        ]
        // Caddy replaces X-Forwarded-* of everyone else.
        if !trustedProxies.isEmpty { proxy["trusted_proxies"] = .array(trustedProxies.map { .string($0) }) }
        if features.streamCloseDelay { proxy["stream_close_delay"] = .string(Self.streamCloseDelay) }
        return .object(proxy)
    }

    /// The last route: for every host that no route matched.
    private static let notFound: JSONValue = [
        "handle": [
            page(
                status: "404", headers: [:],
                html: page(title: "Not found", text: "Nothing is published under this name."))
        ]
    ]

    /// For a published port whose server does not answer.
    private static let unavailable: JSONValue = [
        "match": [["vars": ["{http.error.status_code}": ["502", "503", "504"]]]],
        "handle": [
            page(
                status: "{http.error.status_code}", headers: ["Refresh": ["2"], "Retry-After": ["2"]],
                html: page(
                    title: "Not answering",
                    text:
                        "This port is published, but its server does not answer yet. Trying again every 2 s.")
            )
        ],
    ]

    private static func page(status: String, headers: [String: JSONValue], html: String) -> JSONValue {
        var headers = headers
        headers["Content-Type"] = ["text/html; charset=utf-8"]
        headers["Cache-Control"] = ["no-store"]
        return [
            "handler": "static_response",
            "status_code": .string(status),
            "headers": .object(headers),
            "body": .string(html),
        ]
    }

    /// Without braces: Caddy would look for placeholders in them.
    private static func page(title: String, text: String) -> String {
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>\(title)</title>"
            + "<body style=\"font:1.1em system-ui,sans-serif;margin:4em auto;max-width:36em\">"
            + "<h1>\(title)</h1><p>\(text)</p></body></html>\n"
    }
}
