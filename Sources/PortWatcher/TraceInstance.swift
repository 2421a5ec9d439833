import Glibc
import ProcFS

/// samd's own instance of the kernel's tracing: a folder in tracefs with its own buffer and its own enabled
/// events, so that nobody else's tracing is touched (Documentation/trace/ftrace.rst, "Instances").
struct TraceInstance: Sendable {
    /// Only transitions to and from LISTEN (10). Leaving it for CLOSE (7) must be named: every accepted
    /// connection makes a LISTEN → SYN_RECV event of its own, since the new socket starts as a copy of the
    /// listening one.
    static let filter = "newstate == 10 || (oldstate == 10 && newstate == 7)"
    /// Kilobytes per CPU. What overflows is overwritten, which costs nothing: events only wake.
    static let bufferKilobytes = 16

    private let root: String
    private let folder: String
    private var event: String { "\(folder)/events/sock/inet_sock_set_state" }

    /// Names an instance; nothing is touched yet.
    init(root: String, name: String) {
        self.root = root
        folder = "\(root)/instances/\(name)"
    }

    /// Creates the instance, or takes over what a killed daemon left, and enables the event.
    ///
    /// - Returns: the descriptor of its `trace_pipe`, non-blocking.
    func open() throws(KernelEventError) -> Int32 {
        let instances = "\(root)/instances"
        guard access(instances, F_OK) == 0 else {
            let error = Errno.current
            throw error.rawValue == ENOENT || error.rawValue == ENOTDIR
                ? KernelEventError("find", instances, .notMounted)
                : KernelEventError("find", instances, error)
        }
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw KernelEventError("create", folder, Errno.current)
        }
        do throws(KernelEventError) {
            return try configure()
        } catch {
            // Someone else's instance stays.
            if error.cause != .inUse { remove() }
            throw error
        }
    }

    private func configure() throws(KernelEventError) -> Int32 {
        guard access(event, F_OK) == 0 else { throw KernelEventError("find", event, .noTracepoint) }
        let pipe = "\(folder)/trace_pipe"
        let descriptor = Glibc.open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { throw KernelEventError("open", pipe, Errno.current) }
        do throws(KernelEventError) {
            // Since Linux 4.20 a reader is woken only when this share of the buffer is full, half by default.
            try write("0", to: "\(folder)/buffer_percent", isOptional: true)
            try write("\(Self.bufferKilobytes)", to: "\(folder)/buffer_size_kb", isOptional: true)
            // Nobody reads the names of processes; recording them hooks into every task switch.
            try write("norecord-cmd", to: "\(folder)/trace_options", isOptional: true)
            try write(Self.filter, to: "\(event)/filter")
            try enable()
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Enables the event and the buffer, also after someone (trace-cmd reset) disabled them.
    func enable() throws(KernelEventError) {
        try write("1", to: "\(folder)/tracing_on")
        try write("1", to: "\(event)/enable")
    }

    private static let removalAttempts = 50

    /// Disables the event and removes the instance, whose `trace_pipe` must be closed. Takes about 60 ms.
    /// What cannot be removed is taken over by the next start.
    func remove() {
        try? write("0", to: "\(event)/enable")
        // A process that is being started holds every descriptor of ours until its exec; the instance is busy then.
        for _ in 0..<Self.removalAttempts {
            guard rmdir(folder) != 0, errno == EBUSY else { return }
            usleep(10_000)
        }
    }

    private func write(_ text: String, to path: String, isOptional: Bool = false) throws(KernelEventError) {
        let descriptor = Glibc.open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if isOptional { return }
            throw KernelEventError("open", path, Errno.current)
        }
        defer { close(descriptor) }
        let bytes = Array(text.utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count || isOptional else {
            throw KernelEventError("write", path, Errno.current)
        }
    }
}
