import Glibc
import IdleDetector
import Testing

/// The machine's processes as /proc shows them now; what a test needs of them.
enum ProcessSnapshot {
    static func table(at now: Moment) throws -> ProcessTable {
        var table = ProcessTable(at: now)
        let folder = try #require(opendir("/proc"))
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let pid = Int32(name), let process = process(pid) else { continue }
            table.entries[pid] = process
        }
        return table
    }

    /// Nil if it is gone.
    static func process(_ pid: Int32) -> ProcessEntry? {
        guard let line = text("/proc/\(pid)/stat"), let open = line.firstIndex(of: "("),
            let close = line.lastIndex(of: ")")
        else { return nil }
        let fields = line[line.index(after: close)...].split { $0 == " " || $0 == "\n" }
        let numbers = fields.dropFirst().prefix(5).compactMap { Int32($0) }
        guard fields.count > 19, numbers.count == 5, let startTime = UInt64(fields[19]) else { return nil }
        var status = stat()
        guard stat("/proc/\(pid)", &status) == 0 else { return nil }
        return ProcessEntry(
            pid: pid, parent: numbers[0], group: numbers[1], session: numbers[2], terminal: numbers[3],
            foregroundGroup: numbers[4], startTime: startTime,
            name: String(line[line.index(after: open)..<close]),
            uid: status.st_uid, isZombie: fields[0] == "Z")
    }

    static func text(_ path: String) -> String? {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}

/// A program at a terminal of its own, in a session of its own; both end with the value.
final class TerminalSession {
    /// The end at which a user would sit.
    let master: Int32
    let pid: Int32

    init(_ arguments: [String], environment: [String] = ["PATH=/usr/bin:/bin", "TERM=xterm"]) throws {
        let master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)
        try #require(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0)
        var name = [CChar](repeating: 0, count: 64)
        try #require(ptsname_r(master, &name, name.count) == 0)
        pid = try spawn(arguments, environment: environment, terminal: name)
        self.master = master
    }

    deinit {
        close(master)
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    func type(_ text: String) throws {
        let bytes = Array(text.utf8)
        try #require(write(master, bytes, bytes.count) == bytes.count)
    }
}

/// Starts a program as the leader of a new session.
///
/// - Parameter terminal: the path of what becomes its terminal; else its standard streams are /dev/null.
func spawn(_ arguments: [String], environment: [String], terminal: [CChar]? = nil) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    // The first terminal that a session's leader opens becomes the session's.
    let path = terminal ?? Array("/dev/null".utf8CString)
    posix_spawn_file_actions_addopen(&actions, 0, path, O_RDWR, 0)
    posix_spawn_file_actions_adddup2(&actions, 0, 1)
    posix_spawn_file_actions_adddup2(&actions, 0, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Swift's threads block signals, and tmux ends by one.
    var noSignals = sigset_t()
    sigemptyset(&noSignals)
    posix_spawnattr_setsigmask(&attributes, &noSignals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSID) | Int16(POSIX_SPAWN_SETSIGMASK))
    var argv = arguments.map { strdup($0) } + [nil]
    var envp = environment.map { strdup($0) } + [nil]
    defer { for text in argv + envp { free(text) } }
    var pid: pid_t = 0
    let result = posix_spawnp(&pid, arguments[0], &actions, &attributes, &argv, &envp)
    try #require(result == 0, "posix_spawn \(arguments[0]): \(result)")
    return pid
}

/// Asks again and again until there is an answer, at most `seconds` long.
func eventually<Answer>(within seconds: Int, _ ask: () throws -> Answer?) async throws -> Answer? {
    let deadline = Moment.now() + .seconds(seconds)
    while Moment.now() < deadline {
        if let answer = try ask() { return answer }
        try await Task.sleep(for: .milliseconds(100))
    }
    return try ask()
}
