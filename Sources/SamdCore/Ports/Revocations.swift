package import CaddyConfig

/// What a new document takes away from those who came in under the old one. Pure.
package enum Revocations {
    /// Routes, as they were, that are gone, that lead to another listener, that ask for a password now, or for another one.
    package static func from(_ old: CaddyDocument, to new: CaddyDocument) -> [Route] {
        // A listener may have got another name; who got in keeps what he has.
        let listeners = Dictionary(
            new.routes.map { ($0.listener, $0) }, uniquingKeysWith: { first, _ in first })
        let isOtherPassword = old.account != new.account
        return old.routes.filter { before in
            guard let after = listeners[before.listener] else { return true }
            let isClosed = before.isPublic && !after.isPublic
            let isLockedAnew = !before.isPublic && !after.isPublic && isOtherPassword
            return isClosed || isLockedAnew
        }
    }
}
