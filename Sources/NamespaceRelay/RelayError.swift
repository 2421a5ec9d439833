import Glibc

/// Why a listener inside a namespace cannot be relayed.
package struct RelayError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What stands in the way.
    package enum Cause: Equatable, Sendable {
        /// The target's own values cannot be used; says which and why.
        case invalid(String)
        /// The entrance is gone, and with it probably the namespace.
        case vanished
        /// The entrance leads to another namespace than the one that is meant, or to none.
        case otherNamespace
        /// This process may not do it (EPERM, EACCES).
        case denied(errno: Int32)
        /// No descriptors left (EMFILE, ENFILE).
        case outOfDescriptors
        /// The relays were stopped.
        case stopped
        /// Any other refusal of the kernel.
        case kernel(errno: Int32)
    }

    /// What was tried: "enter", "listen on", "connect inside to" …
    package let operation: String
    /// What it was tried on: a path, a name, an address.
    package let subject: String
    /// What stands in the way.
    package let cause: Cause

    init(_ operation: String, _ subject: String, _ cause: Cause) {
        self.operation = operation
        self.subject = subject
        self.cause = cause
    }

    init(_ operation: String, _ subject: String, errno: Int32) {
        let cause: Cause =
            switch errno {
            case EPERM, EACCES: .denied(errno: errno)
            case EMFILE, ENFILE: .outOfDescriptors
            default: .kernel(errno: errno)
            }
        self.init(operation, subject, cause)
    }

    /// What to do about it, when there is something to do.
    package var hint: String? {
        switch cause {
        case .invalid, .otherNamespace, .stopped: nil
        case .vanished: "nothing, if its container has ended; else see who unmounted the namespace"
        case .denied:
            "the unit needs CAP_SYS_ADMIN and CAP_SYS_PTRACE, and RestrictNamespaces= has to allow net"
        case .outOfDescriptors: "raise LimitNOFILE= in the unit"
        case .kernel(let errno) where errno == ENOENT || errno == ENOTDIR: "create the folder above it"
        case .kernel(let errno) where errno == EROFS: "ReadWritePaths= in the unit has to allow the folder"
        case .kernel: "see the kernel log (dmesg)"
        }
    }

    /// "enter /proc/812/ns/net: not permitted (Operation not permitted (1))".
    package var description: String {
        func text(_ errno: Int32) -> String { "\(String(cString: strerror(errno))) (\(errno))" }
        let reason =
            switch cause {
            case .invalid(let what): what
            case .vanished: "nothing there"
            case .otherNamespace: "leads to another network namespace than was looked for"
            case .denied(let errno): "not permitted (\(text(errno)))"
            case .outOfDescriptors: "no file descriptors left"
            case .stopped: "relaying has ended"
            case .kernel(let errno): text(errno)
            }
        return "\(operation) \(subject): \(reason)"
    }
}
