import Glibc

/// The lock that keeps a second daemon from writing what the first one owns (flock(2)).
///
/// Held until the process ends; the kernel drops it then, also after kill -9.
package final class InstanceLock: Sendable {
    private let descriptor: Int32

    /// Takes the lock.
    /// - Throws: `InstanceLockError.held` when another daemon has it.
    package init(path: String) throws(InstanceLockError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .unusable(FileError("open", path)) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            // The descriptor is closed by deinit, which runs for a throwing initialiser once all properties are set.
            let code = errno
            guard code == EWOULDBLOCK else { throw .unusable(FileError("flock", path, code: code)) }
            let holder = (try? BoundedFile.read(path, limit: 64)).map { String(decoding: $0, as: UTF8.self) }
            throw .held(path: path, pid: holder.flatMap { Int32($0.filter(\.isNumber)) })
        }
        let pid = Array("\(getpid())\n".utf8)
        ftruncate(descriptor, 0)
        _ = pid.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }
}

/// Why the lock was not taken.
package enum InstanceLockError: Error, Sendable, Equatable, CustomStringConvertible {
    case held(path: String, pid: Int32?)
    case unusable(FileError)

    package var description: String {
        switch self {
        case .held(let path, let pid):
            "another samd\(pid.map { " (pid \($0))" } ?? "") is running and holds \(path); "
                + "see `systemctl status samd`, or give this one its own daemon.runtime_dir, state_dir and socket"
        case .unusable(let error):
            "the lock against a second daemon cannot be taken: \(error); run samd as root, or set daemon.runtime_dir to a folder you own"
        }
    }
}
