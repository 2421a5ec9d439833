import NamespaceRelay
import PortWatcher

extension RelayTarget {
    /// What the relays have to know about a listener; nil for one that needs none.
    init?(_ request: RelayRequest) {
        let entrance: String
        switch request.listening.entrance {
        case nil: return nil
        case .process(let pid, _): entrance = "/proc/\(pid)/ns/net"
        case .mount(let path): entrance = path
        }
        self.init(
            name: request.name, namespace: request.listening.identity.namespace, entrance: entrance,
            address: "\(request.address)", port: request.listening.identity.port)
    }
}

extension NamespaceRelays {
    /// Makes the relays exactly these; by name, why one cannot be had.
    func apply(_ requests: [RelayRequest]) -> [String: Refusal] {
        set(requests.compactMap(RelayTarget.init)).compactMapValues { result in
            guard case .failure(let error) = result else { return nil }
            return Refusal(
                reason: "only its own network namespace reaches it, and that cannot be entered: \(error)",
                hint: error.hint)
        }
    }
}
