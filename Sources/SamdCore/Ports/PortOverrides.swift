import Containers
import PortWatcher

/// What somebody decided about one port, beyond the configuration.
package struct PortOverride: Codable, Sendable, Equatable {
    /// Who gets through; nil leaves it to the default, basic authentication.
    package var auth: PortAccess?
    /// True lifts a refusal, false withdraws the port; nil leaves it to the policy.
    package var published: Bool?
    /// Whether root said so, who may lift refusals that others may not.
    package var isByRoot = false

    package init(auth: PortAccess? = nil, published: Bool? = nil, isByRoot: Bool = false) {
        self.auth = auth
        self.published = published
        self.isByRoot = isByRoot
    }

    var isEmpty: Bool { auth == nil && published == nil }
    var isWidening: Bool { auth == .public || published == true }
}

/// The ports that overrides are about: a number of this machine or of one container, and whose it is. Outlives restarts of
/// the server, of samd and of the machine; another owner's listener is another key.
package struct OverrideKey: Codable, Sendable, Hashable {
    package var port: UInt16
    /// The container's name; nil for the machine itself.
    package var container: String?
    package var ownerUID: UInt32

    package init(port: UInt16, container: String?, ownerUID: UInt32) {
        self.port = port
        self.container = container
        self.ownerUID = ownerUID
    }

    init(_ listener: ListeningPort) {
        self.init(
            port: listener.identity.port,
            // A namespace without a container has no name that would outlive it.
            container: listener.entrance == nil
                ? nil : listener.container?.name ?? "namespace \(listener.identity.namespace)",
            ownerUID: listener.identity.ownerUID)
    }
}

/// Everything that was decided about ports; a value, kept by `DaemonState`, saved in `overrides.json`.
package struct PortOverrides: Sendable, Equatable {
    /// One entry of the state file.
    package struct Entry: Codable, Sendable {
        package var key: OverrideKey
        package var override: PortOverride
    }

    /// Far more than the ports that can be published.
    static let limit = 2000
    private(set) var byKey: [OverrideKey: PortOverride] = [:]

    package init(_ entries: [Entry] = []) {
        for entry in entries.prefix(Self.limit) { byKey[entry.key] = entry.override }
    }

    package var entries: [Entry] {
        byKey.map { Entry(key: $0.key, override: $0.value) }.sorted {
            ($0.key.port, $0.key.ownerUID, $0.key.container ?? "")
                < ($1.key.port, $1.key.ownerUID, $1.key.container ?? "")
        }
    }

    subscript(listener: ListeningPort) -> PortOverride? { byKey[OverrideKey(listener)] }

    /// Sets what is about a listener; an empty override removes it. False when there is no room.
    mutating func set(_ override: PortOverride, for listener: ListeningPort) -> Bool {
        let key = OverrideKey(listener)
        guard !override.isEmpty else {
            byKey[key] = nil
            return true
        }
        guard byKey[key] != nil || byKey.count < Self.limit else { return false }
        byKey[key] = override
        return true
    }

    /// Drops what widens access to a number that somebody else listens on now, and the owner no more: what was decided for one
    /// user's server must not wait there for the day it is back. What withdrew it stays. Returns whose was dropped.
    mutating func dropTakenOver(by listening: [ListeningPort]) -> [OverrideKey] {
        guard !byKey.isEmpty else { return [] }
        let present = Set(listening.map(OverrideKey.init))
        let owned = Set(present.map { Place(port: $0.port, container: $0.container) })
        let taken = byKey.keys.filter {
            !present.contains($0) && owned.contains(Place(port: $0.port, container: $0.container))
                && byKey[$0]?.isWidening == true
        }
        for key in taken {
            byKey[key] = byKey[key]?.published == false ? PortOverride(published: false) : nil
        }
        return taken
    }

    private struct Place: Hashable {
        var port: UInt16
        var container: String?
    }
}
