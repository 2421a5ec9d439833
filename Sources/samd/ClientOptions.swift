import ArgumentParser
import Glibc
import SamdCore

/// What every command that asks the daemon takes.
struct ClientOptions: ParsableArguments {
    @Option(help: "The daemon's socket (default: $SAMD_SOCKET, else /run/samd/samd.sock).")
    var socket: String?

    @Flag(help: "Print JSON, as the local API gives it.")
    var json = false

    var socketPath: String {
        socket ?? getenv("SAMD_SOCKET").map { String(cString: $0) } ?? Configuration().daemon.socket
    }

    var client: LocalAPIClient { LocalAPIClient(socket: socketPath) }

    /// A client whose requests take no longer than `patience`.
    func client(patience: Duration) -> LocalAPIClient {
        LocalAPIClient(socket: socketPath, patience: patience)
    }

    /// Runs a command's work; an error becomes one message and the exit code that fits.
    func reportingErrors(_ work: () async throws -> Void) async throws {
        do {
            try await work()
        } catch let code as ExitCode {
            throw code
        } catch {
            throw Exit.report(error)
        }
    }
}
