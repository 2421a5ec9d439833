import Glibc

/// An error number of the kernel, see errno(3).
package struct Errno: Error, Hashable, Sendable, CustomStringConvertible {
    /// The number, for example 2 for ENOENT.
    package let rawValue: Int32

    /// Wraps an error number.
    package init(rawValue: Int32) { self.rawValue = rawValue }

    /// ENXIO.
    package static let noSuchDevice = Errno(rawValue: ENXIO)

    /// The calling thread's errno: read it before any other call can change it.
    package static var current: Errno { Errno(rawValue: errno) }

    /// "No such file or directory (2)".
    package var description: String {
        // Thread-safe since glibc 2.32; strerror_r(3) has one of two signatures, depending on _GNU_SOURCE.
        "\(String(cString: strerror(rawValue))) (\(rawValue))"
    }
}

/// Why something under `/proc` could not be read. "Nothing there" (`notFound`) is apart from "could not look"
/// (`denied`).
package struct ProcFSError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What went wrong.
    package enum Cause: Equatable, Sendable {
        /// No such file, or its process is gone.
        case notFound
        /// The file is there, but this process may not look at it (EACCES, EPERM).
        case denied(Errno)
        /// Any other refusal of the kernel.
        case kernel(Errno)
        /// The file is longer than the named bound; nothing of it was used.
        case tooLarge(limitBytes: Int)
        /// The file could be read, but is not what the kernel documents.
        case malformed(String)
    }

    /// What was tried: "open", "read", "list" …
    package let operation: String
    /// The whole path of the file.
    package let path: String
    /// What went wrong.
    package let cause: Cause

    /// Creates an error from its parts.
    package init(_ operation: String, _ path: String, _ cause: Cause) {
        self.operation = operation
        self.path = path
        self.cause = cause
    }

    init(_ operation: String, _ path: String, _ errno: Errno) {
        let cause: Cause =
            switch errno.rawValue {
            case ENOENT, ESRCH: .notFound
            case EACCES, EPERM: .denied(errno)
            default: .kernel(errno)
            }
        self.init(operation, path, cause)
    }

    /// What to do about it, when there is something to do.
    package var hint: String? {
        switch cause {
        case .denied: "run samd as root, or give it CAP_SYS_PTRACE and CAP_DAC_OVERRIDE"
        case .notFound: "is /proc mounted, and is it the host's?"
        case .kernel, .tooLarge, .malformed: nil
        }
    }

    /// "open /proc/net/tcp: Permission denied (13)".
    package var description: String {
        let reason =
            switch cause {
            case .notFound: "nothing there"
            case .denied(let errno), .kernel(let errno): "\(errno)"
            case .tooLarge(let limitBytes): "longer than the bound of \(limitBytes) bytes"
            case .malformed(let what): what
            }
        return "\(operation) \(path): \(reason)"
    }
}
