import ArgumentParser
import SamdCore

/// Exit codes: 0 success, 1 failure, 2 the daemon does not answer, 64 usage, 75 a second daemon, 78 wrong configuration (sysexits.h).
enum Exit {
    static let failure = ExitCode(1)
    static let unreachable = ExitCode(2)
    static let secondDaemon = ExitCode(75)
    static let configuration = ExitCode(78)

    /// Says what went wrong on standard error and gives the exit code that fits.
    static func report(_ error: any Error) -> ExitCode {
        Terminal.printError("samd: \(error)")
        switch error {
        case is ConfigurationError: return configuration
        case InstanceLockError.held: return secondDaemon
        case LocalAPIClient.Failure.unreachable: return unreachable
        default: return failure
        }
    }
}
