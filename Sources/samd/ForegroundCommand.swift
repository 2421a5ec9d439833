import Glibc
import SamdCore
import Synchronization

/// Runs a command as if it had been typed instead of this one: same terminal, same process group, same descriptors.
enum ForegroundCommand {
    /// Passed on to the command; what was ignored from the start (nohup) stays ignored, here and there.
    private static let forwarded = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2]

    /// The command, for the signal handler; 0 while there is none.
    private static let child = Atomic<pid_t>(0)
    /// The last signal that came before there was a command.
    private static let early = Atomic<Int32>(0)

    /// Runs a command to its end, and returns the status that a shell would see: 127 when there is no such command, 126 when it
    /// cannot be run, 128 + n when a signal ended it.
    static func run(_ command: [String]) -> Int32 {
        child.store(0, ordering: .sequentiallyConsistent)
        early.store(0, ordering: .sequentiallyConsistent)
        for signal in forwarded { forward(signal) }
        let process: ChildProcess
        do {
            process = try ChildProcess(command)
        } catch {
            Terminal.printError("samd: \(error.command): \(error.reason)")
            return error.code == ENOENT ? 127 : 126
        }
        child.store(process.pid, ordering: .sequentiallyConsistent)
        let missed = early.exchange(0, ordering: .sequentiallyConsistent)
        if missed != 0 { kill(process.pid, missed) }
        return process.wait(beforeReaping: { child.store(0, ordering: .sequentiallyConsistent) }).status
    }

    private static func forward(_ number: Int32) {
        var before = sigaction()
        sigaction(number, nil, &before)
        if unsafeBitCast(before.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
        {
            return
        }
        var action = sigaction()
        sigemptyset(&action.sa_mask)
        action.sa_flags = SA_SIGINFO | Int32(bitPattern: UInt32(SA_RESTART))
        // Runs between any two instructions: loads, stores and kill(2), nothing that allocates.
        action.__sigaction_handler.sa_sigaction = { number, information, _ in
            let pid = ForegroundCommand.child.load(ordering: .sequentiallyConsistent)
            guard pid > 0 else {
                return ForegroundCommand.early.store(number, ordering: .sequentiallyConsistent)
            }
            // What the terminal sends (SI_KERNEL) goes to the whole process group: the command has it already.
            guard information?.pointee.si_code != 0x80 else { return }
            let saved = errno
            kill(pid, number)
            errno = saved
        }
        sigaction(number, &action, nil)
    }
}
