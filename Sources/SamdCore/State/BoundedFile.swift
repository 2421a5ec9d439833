package import Glibc

/// A file operation that failed: operation, path, cause.
package struct FileError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was tried, for example `open`.
    package let operation: String
    /// The file.
    package let path: String
    /// errno(3), or 0 where the reason is in `detail`.
    package let code: Int32
    /// The reason where it is no errno.
    package let detail: String?

    package init(_ operation: String, _ path: String, code: Int32 = errno, detail: String? = nil) {
        self.operation = operation
        self.path = path
        self.code = code
        self.detail = detail
    }

    /// The cause in words.
    package var reason: String { detail ?? String(cString: strerror(code)) }
    /// Whether the file does not exist.
    package var isMissing: Bool { code == ENOENT }
    package var description: String { "\(operation) \(path): \(reason)" }
}

/// Whole files, read with a bound and written so that a crash leaves the old or the new content, never a mixture.
package enum BoundedFile {
    /// Reads a file of at most `limit` bytes.
    /// - Throws: `FileError`, also when the file is larger.
    package static func read(_ path: String, limit: Int) throws(FileError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("open", path) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError("read", path)
            }
            bytes.append(contentsOf: buffer[..<count])
            guard bytes.count <= limit else {
                throw FileError("read", path, code: EFBIG, detail: "is larger than \(limit) bytes")
            }
        }
    }

    /// Replaces a file: written beside it, flushed, renamed over it, and the folder flushed (rename(2), fsync(2)).
    /// - Throws: `FileError`; the old content is then still there.
    package static func replace(_ path: String, with bytes: [UInt8], mode: mode_t) throws(FileError) {
        let temporary = "\(path).tmp.\(getpid())"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw FileError("create", temporary) }
        do throws(FileError) {
            defer { close(descriptor) }
            guard fchmod(descriptor, mode) == 0 else { throw FileError("chmod", temporary) }
            try write(bytes, to: descriptor, path: temporary)
            guard fsync(descriptor) == 0 else { throw FileError("fsync", temporary) }
            guard rename(temporary, path) == 0 else { throw FileError("rename", path) }
        } catch {
            unlink(temporary)
            throw error
        }
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let folderDescriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folderDescriptor >= 0 else { throw FileError("open", folder) }
        defer { close(folderDescriptor) }
        guard fsync(folderDescriptor) == 0 else { throw FileError("fsync", folder) }
    }

    /// Creates a folder and its missing parents.
    package static func createFolder(_ path: String, mode: mode_t) throws(FileError) {
        var prefix = ""
        for component in path.split(separator: "/") {
            prefix += "/\(component)"
            guard mkdir(prefix, mode) == 0 || errno == EEXIST else { throw FileError("mkdir", prefix) }
        }
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32, path: String) throws(FileError) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError("write", path)
            }
            offset += count
        }
    }
}
