import Glibc
import Testing

/// A folder of its own that vanishes with the value; stands in for /proc.
final class TemporaryTree {
    let root: String

    init() throws {
        var template = Array("/tmp/samd-proc-XXXXXX".utf8CString)
        let path = try #require(mkdtemp(&template))
        root = String(cString: path)
    }

    deinit { Self.remove(root) }

    /// Writes a file and makes the folders above it.
    func write(_ content: String, to path: String) throws {
        let whole = try prepare(path)
        let descriptor = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        var rest = Array(content.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            try #require(written > 0)
            rest = rest.dropFirst(written)
        }
    }

    /// Makes a symbolic link and the folders above it.
    func link(_ path: String, to target: String) throws {
        try #require(symlink(target, try prepare(path)) == 0)
    }

    private func prepare(_ path: String) throws -> String {
        var folder = root
        for part in path.split(separator: "/").dropLast() {
            folder += "/\(part)"
            try #require(mkdir(folder, 0o755) == 0 || errno == EEXIST)
        }
        return "\(root)/\(path)"
    }

    private static func remove(_ path: String) {
        if let folder = opendir(path) {
            while let entry = readdir(folder) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name == "." || name == ".." { continue }
                if unlink("\(path)/\(name)") != 0 { remove("\(path)/\(name)") }
            }
            closedir(folder)
        }
        rmdir(path)
    }
}
