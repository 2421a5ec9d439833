import Glibc
import ProcFS

/// Reads what a Claude process writes about itself into its config dir.
enum SessionRegistry {
    /// Bytes of a session's file; real ones have about 600.
    static let fileLimitBytes = 64 << 10
    /// Reads of one look while the file is being written.
    static let tornReadLimit = 3
    /// Names in `sessions/` that are looked through for a process's key.
    static let nameLimit = 1024

    /// What was found.
    enum Reading: Equatable {
        case record(SessionRecord)
        /// No file, or one that another process left behind that had the same number.
        case absent
        /// It was being written each time.
        case torn
        /// It may not be looked at, or is nothing that a Claude would write: the reason.
        case blind(String)
    }

    /// Reads the file of one process.
    ///
    /// - Parameter startTime: of the process, in clock ticks since boot.
    static func read(_ home: ClaudeHome, startTime: UInt64, in root: borrowing GuardedRoot) -> Reading {
        let path = "\(home.path)/sessions/\(home.ownPID).json"
        for _ in 0..<tornReadLimit {
            do throws(GuardedFailure) {
                let text = try root.contents(path, limitBytes: fileLimitBytes)
                guard let record = try? SessionRecord(parsing: text) else { continue }
                return isOf(record, home, startTime: startTime) ? .record(record) : .absent
            } catch .notFound {
                return .absent
            } catch {
                return .blind("\(SessionRecord.clean(path)): \(error)")
            }
        }
        return .torn
    }

    /// Whether a record is about this process: its number is used again after its end, and in each container.
    static func isOf(_ record: SessionRecord, _ home: ClaudeHome, startTime: UInt64) -> Bool {
        if let start = record.startTime, start != startTime { return false }
        if let namespace = record.processNamespace, namespace != home.processNamespace { return false }
        if let pid = record.pid, pid != Int64(home.ownPID) { return false }
        return true
    }

    /// Whether the process made a key for itself: then it is of a version that will write its file, and has not come
    /// so far.
    static func hasKey(_ home: ClaudeHome, in root: borrowing GuardedRoot) -> Bool {
        guard let folder = try? root.folder("\(home.path)/sessions") else { return false }
        let prefix = "\(home.ownPID)."
        var isFound = false
        _ = try? folder.forEachName(limit: nameLimit) { name in
            isFound = name.hasPrefix(prefix) && name.hasSuffix(".key")
            return !isFound
        }
        return isFound
    }
}
