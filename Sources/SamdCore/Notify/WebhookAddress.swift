import ProcFS
import Systemd

/// Where a webhook is. The URL is a secret: whoever knows it may send. Only scheme and host are ever shown.
struct WebhookAddress: Sendable, Equatable {
    static let limitBytes = 2048

    /// The whole URL; never for logs.
    let url: String
    /// `https://hooks.example.com`.
    let shown: String
    /// What no message may hold: user and password, path and query.
    private let secrets: [String]

    /// Nil for what is neither `https://HOST…` nor `http://` to this machine itself.
    init?(_ url: String) {
        guard url.utf8.count <= Self.limitBytes,
            url.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x5C }),
            let separator = url.firstRange(of: "://")
        else { return nil }
        let scheme = url[..<separator.lowerBound].lowercased()
        let rest = url[separator.upperBound...]
        let authority = rest.prefix { !"/?#".contains($0) }
        let place = authority.lastIndex(of: "@").map { authority[authority.index(after: $0)...] } ?? authority
        var host = place
        if let colon = place.lastIndex(of: ":"), !place.hasSuffix("]") {
            guard let port = UInt16(place[place.index(after: colon)...]), port > 0 else { return nil }
            host = place[..<colon]
        }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { return nil }
        }
        guard !host.isEmpty else { return nil }
        let isLoopback = host.lowercased() == "localhost" || IPAddress(String(host))?.isLoopback == true
        guard scheme == "https" || scheme == "http" && isLoopback else { return nil }
        self.url = url
        shown = "\(scheme)://\(place)"
        let user = authority.dropLast(place.utf8.count)
        secrets = [String(user.dropLast()), String(rest.dropFirst(authority.utf8.count).dropFirst())]
            .filter { !$0.isEmpty }
    }

    /// A message about a request, unless it holds what is secret.
    func withoutSecrets(_ text: String, or harmless: String) -> String {
        secrets.contains { text.contains($0) } ? harmless : text
    }

    /// Reads the address from a file that its owner alone may read.
    static func read(_ path: String) throws(SecretFile.Failure) -> WebhookAddress {
        let text = try SecretFile(path: path, limitBytes: limitBytes + 2).read()
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, let address = WebhookAddress(String(words[0])) else {
            throw SecretFile.Failure(
                reason: "it does not hold one URL of https:// (http:// to this machine itself)",
                hint: "write the URL alone into it")
        }
        return address
    }
}
