package import CaddyConfig

/// A route whose open connections have to end, because who opened them may not be there any more.
package struct Revocation: Sendable, Equatable {
    /// The route as it was.
    package var route: Route
    /// Whether new connections may come through a route of the same name: those must not be ended with the old ones.
    package var isReopened: Bool
}

/// What a new document takes away from those who came in under the old one. Pure.
package enum Revocations {
    /// Routes that are gone, that lead to another listener, that ask for a password now, or for another one.
    package static func from(_ old: CaddyDocument, to new: CaddyDocument) -> [Revocation] {
        let upstreams = Set(new.routes.map(\.upstream))
        // A listener may have got another name; who got in keeps what he has.
        let listeners = Dictionary(
            new.routes.map { ($0.listener, $0) }, uniquingKeysWith: { first, _ in first })
        let isOtherPassword = old.account != new.account
        return old.routes.compactMap { before in
            guard let after = listeners[before.listener] else {
                return Revocation(route: before, isReopened: upstreams.contains(before.upstream))
            }
            let isClosed = before.isPublic && !after.isPublic
            let isLockedAnew = !before.isPublic && !after.isPublic && isOtherPassword
            return isClosed || isLockedAnew ? Revocation(route: before, isReopened: true) : nil
        }
    }
}
