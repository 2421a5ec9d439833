import FoundationEssentials

/// The body of `PUT /v1/ports/{name}`: what is named changes, the rest stays.
package struct PortChange: Sendable, Equatable {
    /// Who gets through.
    package var auth: PortAccess?
    /// True publishes what was refused or withdrawn, false withdraws.
    package var published: Bool?
    /// Forget everything that was set before.
    package var isReset = false

    package init(auth: PortAccess? = nil, published: Bool? = nil, isReset: Bool = false) {
        self.auth = auth
        self.published = published
        self.isReset = isReset
    }

    /// Reads a JSON object with `auth`, `published` and `reset`, each optional and at least one there.
    package init(parsing body: [UInt8]) throws(ProblemDetails) {
        do {
            self = try JSONDecoder().decode(PortChange.self, from: Data(body))
        } catch let problem as ProblemDetails {
            throw problem
        } catch DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context),
            DecodingError.dataCorrupted(let context), DecodingError.keyNotFound(_, let context)
        {
            let key = context.codingPath.last?.stringValue
            throw Self.problem(key.map { "\"\($0.prefix(40))\" has a wrong value" } ?? "it is no JSON object")
        } catch {
            throw Self.problem("it is no JSON object")
        }
        if auth == nil, published == nil, !isReset { throw Self.problem("it changes nothing") }
    }

    fileprivate static func problem(_ detail: String) -> ProblemDetails {
        ProblemDetails(
            "bad-request", status: 400, title: "Not a change of a port",
            detail: "the body was refused: \(detail)",
            hint:
                "{\"auth\": \"basic\" or \"public\", \"published\": true or false, \"reset\": true}, at least one of them"
        )
    }
}

extension PortChange: Codable {
    private struct Key: CodingKey {
        let stringValue: String
        let intValue: Int? = nil
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Key.self)
        for key in container.allKeys {
            switch key.stringValue {
            case "auth": auth = try container.decodeIfPresent(PortAccess.self, forKey: key)
            case "published": published = try container.decodeIfPresent(Bool.self, forKey: key)
            case "reset": isReset = try container.decodeIfPresent(Bool.self, forKey: key) ?? false
            default: throw Self.problem("\"\(key.stringValue.prefix(40))\" is no field of it")
            }
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        try container.encodeIfPresent(auth, forKey: Key(stringValue: "auth"))
        try container.encodeIfPresent(published, forKey: Key(stringValue: "published"))
        if isReset { try container.encode(true, forKey: Key(stringValue: "reset")) }
    }
}
