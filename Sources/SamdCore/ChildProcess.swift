package import Glibc

/// A program that samd started and waits for (posix_spawn(3)).
package struct ChildProcess: Sendable {
    /// How a program starts.
    package struct Options: Sendable {
        /// `NAME=value` each; nil: this process's own.
        package var environment: [String]?
        /// Whether it leads a process group of its own, so that all that it starts can be ended with it.
        package var ownGroup = false
        /// What it reads, writes and complains to; nil: this process's own.
        package var input, output: Int32?
        /// Whether it gets nothing but standard input, output and error.
        package var closesOthers = false

        package init() {}
    }

    /// A program could not be started.
    package struct Failure: Error, Sendable, Equatable, CustomStringConvertible {
        package let command: String
        /// errno(3).
        package let code: Int32

        package var reason: String { String(cString: strerror(code)) }
        package var description: String { "start \(command): \(reason)" }
    }

    /// How a program ended.
    package enum End: Sendable, Equatable {
        case exited(Int32)
        case killed(signal: Int32)

        /// What shells make of it: the exit status, or 128 and the signal's number.
        package var status: Int32 {
            switch self {
            case .exited(let status): status
            case .killed(let signal): 128 + signal
            }
        }
    }

    package let pid: pid_t

    /// Starts a program, which is looked up in PATH unless its name holds a slash.
    ///
    /// Signals that this process handles have their default effect there, those that it ignored from its start stay ignored,
    /// and none is blocked, whatever thread this is called on.
    package init(_ command: [String], _ options: Options = Options()) throws(Failure) {
        let name = command.first ?? ""
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        if let input = options.input { posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO) }
        if let output = options.output { posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO) }
        if options.closesOthers { posix_spawn_file_actions_addclosefrom_np(&actions, 3) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        var flags = POSIX_SPAWN_SETSIGMASK
        if options.ownGroup {
            posix_spawnattr_setpgroup(&attributes, 0)
            flags |= POSIX_SPAWN_SETPGROUP
            // A daemon ignores SIGPIPE for itself; a pipeline in a script relies on it.
            var all = sigset_t()
            sigfillset(&all)
            posix_spawnattr_setsigdefault(&attributes, &all)
            flags |= POSIX_SPAWN_SETSIGDEF
        }
        posix_spawnattr_setflags(&attributes, Int16(flags))

        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        var environment = options.environment?.map { strdup($0) }
        environment?.append(nil)
        defer {
            for argument in arguments { free(argument) }
            for variable in environment ?? [] { free(variable) }
        }
        var pid = pid_t()
        let code =
            environment == nil
            ? posix_spawnp(&pid, name, &actions, &attributes, &arguments, environ)
            : posix_spawnp(&pid, name, &actions, &attributes, &arguments, &environment!)
        guard code == 0 else { throw Failure(command: name, code: code) }
        self.pid = pid
    }

    /// Blocks until it ended. `beforeReaping` runs while its pid cannot be used again yet, so that no signal of ours hits
    /// another process.
    package func wait(beforeReaping: () -> Void = {}) -> End {
        var info = siginfo_t()
        while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
        beforeReaping()
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            // Somebody else waited for it; how it ended is not known any more.
            if errno != EINTR { return .exited(1) }
        }
        let signal = status & 0x7F
        return signal == 0 ? .exited((status >> 8) & 0xFF) : .killed(signal: signal)
    }
}
