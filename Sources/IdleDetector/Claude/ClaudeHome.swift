import Glibc
import ProcFS

/// Where a Claude process keeps its files, as its own environment says, and by what numbers it goes in there.
struct ClaudeHome: Equatable, Sendable {
    /// Bytes of an environment that are read.
    static let environmentLimitBytes = 256 << 10
    /// Bytes of `status` that are read.
    private static let statusLimitBytes = 64 << 10

    /// The config dir: absolute, in the process's own mount namespace.
    var path: String
    /// The process's number in its own pid namespace.
    var ownPID: Int32
    /// The inode of that namespace.
    var processNamespace: UInt64
    /// Whose files are believed: the process's user, and root of its user namespace.
    var owners: [UInt32]

    /// Why a process's files cannot be found.
    enum Failure: Error, Equatable {
        case gone
        case blind(String)
    }

    /// Asks the kernel about a process.
    init(of pid: Int32, uid: UInt32, procfs: ProcFileSystem) throws(Failure) {
        let environment = try Self.environment(of: pid, procfs: procfs)
        let namespace: UInt64?
        do throws(ProcFSError) {
            namespace = try procfs.namespace(.process, of: pid)
        } catch {
            throw .blind(error.description)
        }
        guard let namespace else { throw .gone }
        processNamespace = namespace
        var path: String
        if let chosen = environment.configDir {
            path = chosen
        } else if let home = environment.home {
            path = home.hasSuffix("/") ? "\(home).claude" : "\(home)/.claude"
        } else {
            throw .blind("its environment has neither CLAUDE_CONFIG_DIR nor HOME")
        }
        if !path.hasPrefix("/") {
            guard let folder = try? procfs.workingDirectory(of: pid), folder.hasPrefix("/") else {
                throw .blind("its config dir is a relative path, and its working directory cannot be read")
            }
            path = "\(folder)/\(path)"
        }
        guard path.utf8.count < GuardedRoot.pathLimitBytes else {
            throw .blind("the path of its config dir is too long")
        }
        self.path = path
        ownPID = Self.ownPID(of: pid, procfs: procfs) ?? pid
        owners = Set([uid, Self.rootUser(of: pid, procfs: procfs) ?? uid]).sorted()
    }

    // MARK: - Readers

    /// What of the environment tells where the files are; the first of several wins, as with getenv(3). An empty
    /// variable is none.
    static func variables(_ text: [UInt8]) -> (configDir: String?, home: String?) {
        var configDir: String?
        var home: String?
        for variable in text.split(separator: 0) {
            if configDir == nil, variable.starts(with: "CLAUDE_CONFIG_DIR=".utf8) {
                configDir = String(decoding: variable.dropFirst(18), as: UTF8.self)
            } else if home == nil, variable.starts(with: "HOME=".utf8) {
                home = String(decoding: variable.dropFirst(5), as: UTF8.self)
            }
        }
        return (configDir.flatMap { $0.isEmpty ? nil : $0 }, home.flatMap { $0.isEmpty ? nil : $0 })
    }

    private static func environment(
        of pid: Int32, procfs: ProcFileSystem
    ) throws(Failure) -> (configDir: String?, home: String?) {
        do throws(ProcFSError) {
            let text = try procfs.file("\(procfs.root)/\(pid)/environ", limitBytes: environmentLimitBytes)
            return variables(text)
        } catch {
            throw error.cause == .notFound ? .gone : .blind(error.description)
        }
    }

    /// The last number of `NSpid:` (proc_pid_status(5)).
    private static func ownPID(of pid: Int32, procfs: ProcFileSystem) -> Int32? {
        guard let text = try? procfs.file("\(procfs.root)/\(pid)/status", limitBytes: statusLimitBytes),
            let line = text.split(separator: UInt8(ascii: "\n")).first(where: {
                $0.starts(with: "NSpid:".utf8)
            })
        else { return nil }
        return line.split { $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: " ") }.last
            .flatMap { Int32(String(decoding: $0, as: UTF8.self)) }
    }

    /// The user as whom root of the process's user namespace counts here (user_namespaces(7)).
    private static func rootUser(of pid: Int32, procfs: ProcFileSystem) -> UInt32? {
        guard let text = try? procfs.file("\(procfs.root)/\(pid)/uid_map", limitBytes: statusLimitBytes)
        else { return nil }
        for line in text.split(separator: UInt8(ascii: "\n")) {
            let fields = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
            if fields.count == 3, fields[0] == "0" { return UInt32(fields[1]) }
        }
        return nil
    }
}
