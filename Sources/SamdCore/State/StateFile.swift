import FoundationEssentials
import Glibc

/// One owner's state on disk: versioned JSON, replaced atomically, and tied to a boot where its content is.
///
/// What cannot be read is moved aside and told, never a reason not to start.
package struct StateFile<Value: Codable & Sendable>: Sendable {
    /// What is on disk around the value.
    private struct Envelope: Codable {
        var version: Int
        var bootID: String?
        var value: Value
    }
    private struct Header: Codable {
        var version: Int
    }

    /// What reading a state file gave.
    package enum Loaded: Sendable {
        /// The value as last saved.
        case value(Value)
        /// Nothing was saved yet, or it belongs to an earlier boot.
        case none
        /// The file was unusable and now stands at `movedTo`.
        case discarded(reason: String, movedTo: String)
    }

    package let path: String
    private let version: Int
    private let bootID: String?
    private let maximumBytes = 16 << 20

    /// Describes a state file.
    ///
    /// - Parameters:
    ///   - version: the format's version; a file of another version is discarded.
    ///   - bootID: the running boot's id where the value means nothing after a reboot (monotonic instants, pids), else nil.
    package init(path: String, version: Int, bootID: String? = nil) {
        self.path = path
        self.version = version
        self.bootID = bootID
    }

    /// Reads the value.
    /// - Throws: `FileError` when the file exists and cannot be read at all (no right, I/O error).
    package func load() throws(FileError) -> Loaded {
        let bytes: [UInt8]
        do {
            bytes = try BoundedFile.read(path, limit: maximumBytes)
        } catch {
            if error.isMissing { return .none }
            if error.code == EFBIG { return try discard("it \(error.reason)") }
            throw error
        }
        let data = Data(bytes)
        do {
            let header = try JSONDecoder().decode(Header.self, from: data)
            guard header.version == version else {
                return try discard(
                    "its format is version \(header.version), this samd writes version \(version)")
            }
            let envelope = try JSONDecoder().decode(Envelope.self, from: data)
            guard envelope.bootID == bootID else { return .none }
            return .value(envelope.value)
        } catch let error as FileError {
            throw error
        } catch {
            return try discard("it is not what samd wrote (\(bytes.count) bytes)")
        }
    }

    /// Replaces the value; mode 0600.
    /// - Throws: `FileError`; the previous value is then still there.
    package func save(_ value: Value) throws(FileError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let data: Data
        do {
            data = try encoder.encode(Envelope(version: version, bootID: bootID, value: value))
        } catch {
            throw FileError("encode", path, code: EINVAL, detail: "\(error)")
        }
        try BoundedFile.replace(path, with: Array(data), mode: 0o600)
    }

    private func discard(_ reason: String) throws(FileError) -> Loaded {
        let aside = "\(path).unusable"
        guard rename(path, aside) == 0 else { throw FileError("rename", path) }
        return .discarded(reason: reason, movedTo: aside)
    }
}
