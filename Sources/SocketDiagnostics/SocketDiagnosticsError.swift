package import ProcFS

/// Why connections could not be ended by way of the kernel's socket diagnostics.
package struct SocketDiagnosticsError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What stands in the way.
    package enum Cause: Equatable, Sendable {
        /// This process may not do it.
        case denied(Errno)
        /// The kernel was built without it (CONFIG_INET_DIAG, CONFIG_INET_DIAG_DESTROY).
        case unsupported(Errno)
        /// The kernel's answer is not what it documents.
        case malformed(String)
        /// The process's sockets could not be listed.
        case process(ProcFSError)
        /// Any other refusal of the kernel.
        case kernel(Errno)
    }

    /// What was tried: "list", "end" …
    package let operation: String
    /// What it was tried on, for example "connections to 127.0.0.1:3000".
    package let subject: String
    /// What stands in the way.
    package let cause: Cause

    init(_ operation: String, _ subject: String, _ cause: Cause) {
        self.operation = operation
        self.subject = subject
        self.cause = cause
    }

    /// What to do about it, when there is something to do.
    package var hint: String? {
        switch cause {
        case .denied: "the unit needs CAP_NET_ADMIN, and RestrictAddressFamilies= has to allow AF_NETLINK"
        case .unsupported:
            "this kernel lacks CONFIG_INET_DIAG or CONFIG_INET_DIAG_DESTROY (`ss -K` tells); open connections end by themselves"
        case .process(let error): error.hint
        case .malformed, .kernel: nil
        }
    }

    /// "end connections to 127.0.0.1:3000: not permitted (Operation not permitted (1))".
    package var description: String {
        let reason =
            switch cause {
            case .denied(let errno): "not permitted (\(errno))"
            case .unsupported(let errno): "this kernel cannot (\(errno))"
            case .malformed(let what): "the kernel's answer cannot be read: \(what)"
            case .process(let error): "\(error)"
            case .kernel(let errno): "\(errno)"
            }
        return "\(operation) \(subject): \(reason)"
    }
}
