import Containers
import PortWatcher

/// What keeps a listening port private, the strongest reason first, and who may lift it. Pure.
enum Refusals {
    /// Nil when the port may be published.
    ///
    /// - Parameter name: how `samd ports set` calls it.
    static func refusal(
        of listener: ListeningPort, name: String, override: PortOverride?, policy: RoutingPolicy
    ) -> Refusal? {
        let port = listener.identity.port
        if listener.entrance == nil, policy.reserved.contains(port) {
            return Refusal(reason: "Caddy itself listens here for samd", isSurprising: false)
        }
        if override?.published == false {
            return Refusal(
                reason: "somebody withdrew it (samd ports set)",
                hint: "samd ports set \(name) --publish offers it again",
                command: "samd ports set \(name) --publish", isSurprising: false)
        }
        let isLifted = override?.published == true
        let isLiftedByRoot = isLifted && override?.isByRoot == true
        if !isLiftedByRoot {
            if let refusal = foreignOwner(listener, name: name, policy: policy) { return refusal }
            if policy.deny.contains(port) {
                return liftedByRoot(
                    name,
                    reason:
                        "on the list of ports that speak no HTTP or open a door to the machine (ports.deny)",
                    otherwise: "take \(port) off ports.deny if it is a web server")
            }
        }
        return isLifted ? nil : mild(listener, name: name, policy: policy)
    }

    /// What every workspace owner may lift.
    private static func mild(
        _ listener: ListeningPort, name: String, policy: RoutingPolicy
    ) -> Refusal? {
        let port = listener.identity.port
        // In a container's own network small numbers are nobody else's.
        if listener.entrance == nil, port < policy.min {
            return lifted(
                name, reason: "port numbers below \(policy.min) are not offered",
                otherwise: "lower ports.min")
        }
        if policy.ignore.contains(port) {
            return lifted(name, reason: "listed in ports.ignore", otherwise: "remove it there")
        }
        if policy.ephemeral.contains(port), !policy.allowEphemeral.contains(port) {
            let range = "\(policy.ephemeral.lowerBound)-\(policy.ephemeral.upperBound)"
            return lifted(
                name,
                reason: "in the kernel's ephemeral range \(range), where numbers are given out at random",
                otherwise:
                    "add \(port) to ports.allow_ephemeral, or listen on a fixed port below \(policy.ephemeral.lowerBound)",
                isSurprising: false)
        }
        return nil
    }

    private static func foreignOwner(
        _ listener: ListeningPort, name: String, policy: RoutingPolicy
    ) -> Refusal? {
        let uid = listener.identity.ownerUID
        if policy.owners.contains(uid) { return nil }
        if let container = listener.container {
            // In the machine's own network a pid namespace alone proves nothing: sandboxes and services have one, too.
            let isByRuntime = listener.entrance != nil || container.runtime != .unknown
            let isOurs =
                isByRuntime && (container.creatorUID == 0 || policy.owners.contains(container.creatorUID))
            if isOurs, policy.containers { return nil }
            return liftedByRoot(
                name,
                reason: isOurs
                    ? "containers' ports are not offered (workspace.containers)"
                    : "its container \"\(PortName.label(of: container))\" was started by somebody outside the workspace",
                otherwise: isOurs ? "set workspace.containers" : "add who started it to workspace.owners",
                isSurprising: false)
        }
        switch policy.owners {
        case .loginUsers:
            return liftedByRoot(
                name, reason: "its owner (uid \(uid)) is not a login user",
                otherwise: "name the owner in workspace.owners")
        case .listed(_, let names):
            return liftedByRoot(
                name,
                reason:
                    "its owner (uid \(uid)) is not one of the workspace's: \(names.joined(separator: ", "))",
                otherwise: "add the owner to workspace.owners")
        }
    }

    static func overLimit(_ limit: Int) -> Refusal {
        Refusal(
            reason: "\(limit) ports are published already",
            hint: "end servers that are not needed, or raise ports.limit")
    }

    private static func lifted(
        _ name: String, reason: String, otherwise: String, isSurprising: Bool = true
    ) -> Refusal {
        let command = "samd ports set \(name) --publish"
        return Refusal(
            reason: reason, hint: "\(command), or \(otherwise)", command: command, isSurprising: isSurprising)
    }

    private static func liftedByRoot(
        _ name: String, reason: String, otherwise: String, isSurprising: Bool = true
    ) -> Refusal {
        let command = "sudo samd ports set \(name) --publish"
        return Refusal(
            reason: reason, hint: "\(command), or \(otherwise)", command: command, isSurprising: isSurprising)
    }
}
