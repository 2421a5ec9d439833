import Glibc
package import ProcFS

/// Why the kernel's events cannot be had.
package struct KernelEventError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is missing.
    package enum Cause: Equatable, Sendable {
        /// There is no tracefs at the path.
        case notMounted
        /// This process has no right to it.
        case denied(Errno)
        /// It is there, but read-only: a sandbox.
        case readOnly
        /// This kernel has no tracepoint for socket states.
        case noTracepoint
        /// Another process reads the same instance.
        case inUse
        /// Any other refusal.
        case kernel(Errno)
    }

    /// What was tried: "create", "write", "open", "read" …
    package let operation: String
    /// The file or folder it was tried on.
    package let path: String
    /// What is missing.
    package let cause: Cause

    init(_ operation: String, _ path: String, _ cause: Cause) {
        self.operation = operation
        self.path = path
        self.cause = cause
    }

    init(_ operation: String, _ path: String, _ errno: Errno) {
        let cause: Cause =
            switch errno.rawValue {
            case EACCES, EPERM: .denied(errno)
            case EROFS: .readOnly
            case EBUSY: .inUse
            default: .kernel(errno)
            }
        self.init(operation, path, cause)
    }

    /// What to do about it.
    package var hint: String {
        switch cause {
        case .notMounted: "mount it: mount -t tracefs tracefs /sys/kernel/tracing"
        case .denied:
            "run samd as root; a kernel in lockdown (/sys/kernel/security/lockdown) refuses root too"
        case .readOnly:
            "allow it in the unit: ReadWritePaths=/sys/kernel/tracing/instances "
                + "(ProtectKernelTunables= makes it read-only)"
        case .noTracepoint: "it needs Linux 4.16 or later with CONFIG_FTRACE, as distributions build it"
        case .inUse:
            "another samd runs here, or someone reads its trace_pipe: give each its own instance name"
        case .kernel: "see the kernel log (dmesg); samd tries again by itself"
        }
    }

    /// "create /sys/kernel/tracing/instances/samd: not permitted (Permission denied (13))".
    package var description: String {
        let reason =
            switch cause {
            case .notMounted: "tracefs is not mounted here"
            case .denied(let errno): "not permitted (\(errno))"
            case .readOnly: "read-only in this sandbox"
            case .noTracepoint: "this kernel has no tracepoint sock:inet_sock_set_state"
            case .inUse: "in use by another process"
            case .kernel(let errno): "\(errno)"
            }
        return "\(operation) \(path): \(reason)"
    }
}
