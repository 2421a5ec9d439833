import Glibc
import Testing

/// A Python program in namespaces of its own, ended with the value.
final class NamespaceProcess {
    /// The numbers that the program printed on its first line.
    private(set) var output: [Int] = []
    private let pid: pid_t
    private let input: Int32
    private let results: Int32
    private var isEnded = false

    /// Listens on 0.0.0.0 and says on which port.
    static let listener = """
        import socket, sys
        s = socket.socket()
        s.bind(("0.0.0.0", 0))
        s.listen()
        print(s.getsockname()[1], flush=True)
        sys.stdin.read()
        """

    /// Starts `unshare` with the options, behind a prefix such as `setpriv`, and waits for the program's first line.
    init(_ options: [String], prefix: [String] = [], program: String = NamespaceProcess.listener) throws {
        var stdin: [Int32] = [-1, -1]
        var stdout: [Int32] = [-1, -1]
        try #require(pipe2(&stdin, O_CLOEXEC) == 0 && pipe2(&stdout, O_CLOEXEC) == 0)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, stdin[0], 0)
        posix_spawn_file_actions_adddup2(&actions, stdout[1], 1)
        let command = prefix + ["unshare"] + options + ["python3", "-c", program]
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid = pid_t()
        let code = posix_spawnp(&pid, command[0], &actions, nil, &arguments, environ)
        self.pid = pid
        input = stdin[1]
        results = stdout[0]
        close(stdin[0])
        close(stdout[1])
        try #require(code == 0)
        output = try #require(readLine()).split(separator: " ").compactMap { Int($0) }
    }

    /// Sends a line to the program and takes in the one that it answers.
    func proceed() throws {
        var byte = UInt8(ascii: "\n")
        try #require(write(input, &byte, 1) == 1)
        output = try #require(readLine()).split(separator: " ").compactMap { Int($0) }
    }

    /// Kills the program and waits until the last process of it has gone.
    func end() {
        guard !isEnded else { return }
        isEnded = true
        close(input)
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
        while readLine() != nil {}
    }

    deinit {
        end()
        close(results)
    }

    /// The next line; `nil` once nobody can write another.
    private func readLine() -> String? {
        var line: [UInt8] = []
        var byte: UInt8 = 0
        while case let count = read(results, &byte, 1), count != 0 {
            if count < 0 { continue }
            if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
        return nil
    }
}

/// A network namespace without processes, held by a mount, with a listener whose socket this process holds.
final class MountedNamespaceWithListener {
    let path: String
    private(set) var port: UInt16 = 0
    private(set) var inode: UInt64 = 0
    private var descriptor: Int32 = -1
    private var isMounted = false

    /// - Parameter path: an empty file.
    init(at path: String) throws {
        self.path = path
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<MountedNamespaceWithListener>.fromOpaque(context).takeUnretainedValue().set()
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
        try #require(code == 0)
        pthread_join(thread, nil)
        try #require(isMounted && port > 0)
    }

    private func set() {
        guard unshare(CLONE_NEWNET) == 0,
            mount("/proc/thread-self/ns/net", path, nil, UInt(MS_BIND), nil) == 0
        else { return }
        isMounted = true
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        var status = stat()
        // Without an address the kernel chooses a free port on 0.0.0.0.
        guard listen(descriptor, 1) == 0, fstat(descriptor, &status) == 0 else { return }
        inode = UInt64(status.st_ino)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = getsockname(descriptor, __SOCKADDR_ARG(__sockaddr__: $0), &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
    }

    /// Closes the listener and gives up the namespace.
    func end() {
        if descriptor >= 0 { close(descriptor) }
        descriptor = -1
        if isMounted { umount2(path, Int32(MNT_DETACH)) }
        isMounted = false
    }

    deinit { end() }
}
