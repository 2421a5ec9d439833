import Glibc
import SamdCore

/// Where a recording is written: a file for its owner alone, or standard output.
final class RecordingSink: Sendable {
    private let descriptor: Int32
    private let path: String

    /// - Parameter path: `-` for standard output.
    init(_ path: String) throws {
        self.path = path
        if path == "-" {
            descriptor = STDOUT_FILENO
            return
        }
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0, fchmod(descriptor, 0o600) == 0 else { throw FileError("create", path) }
    }

    deinit { if descriptor != STDOUT_FILENO { close(descriptor) } }

    func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError("write", path)
            }
            rest = rest.dropFirst(count)
        }
    }
}
