import Glibc

/// A small secret in a file that its owner alone may read, as an administrator or systemd's LoadCredential= leaves it.
package struct SecretFile: Sendable {
    /// Why a secret cannot be had; holds nothing of it.
    package struct Failure: Error, Sendable, Equatable {
        package var reason: String
        /// What to do about it.
        package var hint: String

        package init(reason: String, hint: String) {
            self.reason = reason
            self.hint = hint
        }
    }

    package let path: String
    package let limitBytes: Int

    package init(path: String, limitBytes: Int) {
        self.path = path
        self.limitBytes = limitBytes
    }

    /// Reads the file: a regular one, no link, of root or of this process's user, closed to everybody else.
    package func read() throws(Failure) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw Failure(reason: String(cString: strerror(errno)), hint: "put the secret into it")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw Failure(reason: "it is no regular file", hint: "put the secret into a file")
        }
        guard status.st_uid == 0 || status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw Failure(
                reason: "others may read or own it, and it holds a secret",
                hint: "chown root: \(path) && chmod 600 \(path)")
        }
        var bytes = [UInt8](repeating: 0, count: limitBytes + 1)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        guard count >= 0 else {
            throw Failure(reason: String(cString: strerror(errno)), hint: "look at the disk")
        }
        guard count <= limitBytes else {
            throw Failure(
                reason: "it is longer than \(limitBytes) bytes", hint: "put the secret alone into it")
        }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
