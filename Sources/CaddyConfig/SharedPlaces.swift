/// A part of Caddy's configuration in which ours stands among others'.
enum SharedPlace: String, Sendable, CaseIterable {
    case logging = "/config/logging"
    case authorities = "/config/apps/pki"
    case certificates = "/config/apps/tls"

    /// What our object in it carries as `@id`, so that it is told from others'.
    var ids: [String] {
        switch self {
        case .logging: ["samd_log"]
        case .authorities: ["samd_authority"]
        case .certificates: ["samd_tls", "samd_certificate"]
        }
    }
}

/// What we want in the shared places, and how it is brought among what others have there. Pure.
struct SharedPieces: Sendable, Equatable {
    /// The logger of our server's requests.
    static let loggerName = "samd"
    /// The same as Caddy's logs know it.
    static let accessLogger = "http.log.access.\(loggerName)"
    /// Our certificate authority. Not Caddy's `local` one: that would be written into the machine's own trust store with
    /// every load of a configuration.
    static let authorityKey = "samd"
    /// What the server's connection policy chooses certificates by.
    static let certificateTag = "samd"

    var tls: CaddyTLS
    var accessLog: String?
    var features: CaddyFeatures

    /// A value of someone else where ours belongs.
    struct Clash: Error, Equatable {
        var detail: String
        var hint: String
    }

    /// Whether something of ours belongs there.
    func isWanted(at place: SharedPlace) -> Bool {
        switch place {
        case .logging: accessLog != nil
        case .authorities: if case .internal = tls { true } else { false }
        case .certificates: tls != .off
        }
    }

    /// The place with ours as wanted and everything else as it was; nil: nothing is left there.
    func merged(into current: JSONValue?, at place: SharedPlace) throws(Clash) -> JSONValue? {
        switch place {
        case .logging: try loggingMerged(into: current)
        case .authorities: try authoritiesMerged(into: current)
        case .certificates: certificatesMerged(into: current)
        }
    }

    private static func pruned(_ value: JSONValue, was current: JSONValue?) -> JSONValue? {
        value == current ?? [:] ? current : value == [:] ? nil : value
    }

    // MARK: Logs

    /// Headers that browsers send with every request and nobody reads here.
    private static let deletedFields = [
        "request>uri", "request>tls", "resp_headers",
    ]
    private static let deletedHeaders = [
        "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Cookie", "Dnt",
        "If-Modified-Since",
        "If-None-Match", "Origin", "Pragma", "Priority", "Range", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile",
        "Sec-Ch-Ua-Platform", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Protocol",
        "Upgrade-Insecure-Requests", "User-Agent", "X-Forwarded-For",
    ]

    private func log(socket: String) -> JSONValue {
        var writer: [String: JSONValue] = ["output": "net", "address": .string("unix/\(socket)")]
        if features.softStart { writer["soft_start"] = true }
        let fields = Self.deletedFields + Self.deletedHeaders.map { "request>headers>\($0)" }
        return [
            "@id": "samd_log",
            "writer": .object(writer),
            // Without URLs, cookies and the like. While nobody listens, Caddy writes these lines to its standard error.
            "encoder": [
                "format": "filter", "wrap": ["format": "json"],
                "fields": .object(Dictionary(fields.map { ($0, ["filter": "delete"]) }) { $1 }),
            ],
            "include": [.string(Self.accessLogger)],
        ]
    }

    private func loggingMerged(into current: JSONValue?) throws(Clash) -> JSONValue? {
        var logging = current ?? [:]
        let wanted = accessLog.map(log(socket:))
        let present = logging["logs"]?[Self.loggerName]
        if let present, present["@id"] != "samd_log" {
            if wanted == nil { return current }
            throw Clash(
                detail:
                    "a log named \"\(Self.loggerName)\" exists and is not ours (it lacks \"@id\": \"samd_log\")",
                hint: "rename that log in Caddy's configuration")
        }
        if present != wanted { logging.set(wanted, at: "logs", Self.loggerName) }
        let log = logging["logs"]?["default"]
        let excluded = log?["exclude"]?.elements ?? []
        if wanted == nil {
            if excluded.contains(.string(Self.accessLogger)) {
                let others = excluded.filter { $0 != .string(Self.accessLogger) }
                logging.set(others.isEmpty ? nil : .array(others), at: "logs", "default", "exclude")
            }
        } else if Self.lists(log?["include"]) ?? true, !(Self.lists(log?["exclude"]) ?? false) {
            // Else each request would also stand in Caddy's journal.
            logging.set(.array(excluded + [.string(Self.accessLogger)]), at: "logs", "default", "exclude")
        }
        return Self.pruned(logging, was: current)
    }

    /// Whether such a list takes in our logger or a namespace above it; nil for no or an empty list.
    private static func lists(_ list: JSONValue?) -> Bool? {
        guard let elements = list?.elements, !elements.isEmpty else { return nil }
        return elements.contains { "\(accessLogger).".hasPrefix("\($0.stringValue ?? "").") }
    }

    // MARK: TLS

    private static let authority: JSONValue = [
        "@id": "samd_authority", "name": "samd", "install_trust": false,
    ]

    private func authoritiesMerged(into current: JSONValue?) throws(Clash) -> JSONValue? {
        var authorities = current ?? [:]
        let wanted = isWanted(at: .authorities)
        let present = authorities["certificate_authorities"]?[Self.authorityKey]
        if let present, present["@id"] != "samd_authority" {
            if !wanted { return current }
            throw Clash(
                detail: "a certificate authority named \"\(Self.authorityKey)\" exists and is not ours"
                    + " (it lacks \"@id\": \"samd_authority\")",
                hint: "rename that certificate authority in Caddy's configuration")
        }
        let value = wanted ? Self.authority : nil
        if present != value { authorities.set(value, at: "certificate_authorities", Self.authorityKey) }
        return Self.pruned(authorities, was: current)
    }

    private func certificatesMerged(into current: JSONValue?) -> JSONValue? {
        var place = current ?? [:]
        var policy: JSONValue?
        var loaded: JSONValue?
        var subjects: [JSONValue] = []
        switch tls {
        case .off: break
        case .internal(let names):
            subjects = names.map { .string($0) }
            policy = [
                "@id": "samd_tls", "subjects": .array(subjects),
                "issuers": [["module": "internal", "ca": .string(Self.authorityKey)]],
            ]
        case .certificate(let pair):
            loaded = [
                "@id": "samd_certificate", "certificate": .string(pair.certificate), "key": .string(pair.key),
                "tags": [.string(Self.certificateTag)],
            ]
        }
        // Our policy's subjects are what we added to `automate` earlier.
        let before = (place["automation"]?["policies"]?.elements ?? [])
            .filter { $0["@id"] == "samd_tls" }.flatMap { $0["subjects"]?.elements ?? [] }
        place.update(at: "certificates", "automate") { automated in
            let gone = before.filter { !subjects.contains($0) }
            let kept = automated.filter { !gone.contains($0) }
            return kept + subjects.filter { !kept.contains($0) }
        }
        place.update(at: "automation", "policies") { policies in
            // Of several that fit the first holds: ours has to stand before one for all names.
            Self.placing(policy, id: "samd_tls", in: policies) { $0["subjects"]?.elements?.isEmpty ?? true }
        }
        place.update(at: "certificates", "load_pem") { certificates in
            Self.placing(loaded, id: "samd_certificate", in: certificates) { _ in false }
        }
        return Self.pruned(place, was: current)
    }

    /// The list with exactly one element of that id, or none: where the first was, else before the first that
    /// `isLast` holds for.
    private static func placing(
        _ value: JSONValue?, id: String, in list: [JSONValue], before isLast: (JSONValue) -> Bool
    ) -> [JSONValue] {
        let position = list.firstIndex { $0["@id"]?.stringValue == id }
        var others = list.filter { $0["@id"]?.stringValue != id }
        guard let value else { return others }
        others.insert(value, at: position ?? others.firstIndex(where: isLast) ?? others.count)
        return others
    }
}

extension JSONValue {
    /// An array's elements; nil for other values.
    var elements: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }

    /// Sets a member of nested objects, making those that are missing, or removes it with the objects that it leaves
    /// empty.
    fileprivate mutating func set(_ value: JSONValue?, at keys: String...) {
        set(value, at: keys[...])
    }

    private mutating func set(_ value: JSONValue?, at keys: ArraySlice<String>) {
        guard let key = keys.first else { return }
        var members: [String: JSONValue] = [:]
        if case .object(let present) = self { members = present }
        if keys.count == 1 {
            members[key] = value
        } else {
            var inner = members[key] ?? [:]
            inner.set(value, at: keys.dropFirst())
            members[key] = value == nil && inner == [:] ? nil : inner
        }
        self = .object(members)
    }

    /// Changes an array within nested objects; an unchanged one stays as it is, also when it is missing.
    fileprivate mutating func update(at keys: String..., change: ([JSONValue]) -> [JSONValue]) {
        let present = keys.reduce(Optional(self)) { $0?[$1] }?.elements ?? []
        let changed = change(present)
        if changed != present { set(changed.isEmpty ? nil : .array(changed), at: keys[...]) }
    }
}
