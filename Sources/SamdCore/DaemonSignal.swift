@preconcurrency import Dispatch
import Glibc

/// What other processes may ask of the daemon by signal.
package enum DaemonSignal: Sendable, Equatable {
    /// SIGTERM or SIGINT.
    case stop(name: String)
    /// SIGHUP.
    case reload

    /// Signals of this process from now on. Call early: a signal that comes before has its default effect.
    package static func stream() -> AsyncStream<DaemonSignal> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: DaemonSignal.self, bufferingPolicy: .bufferingNewest(8))
        signal(SIGPIPE, SIG_IGN)
        let meanings: [(Int32, DaemonSignal)] = [
            (SIGTERM, .stop(name: "SIGTERM")), (SIGINT, .stop(name: "SIGINT")), (SIGHUP, .reload),
        ]
        let sources = meanings.map { number, meaning in
            // Dispatch sees a signal besides its disposition, so the default (to die) has to go.
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield(meaning) }
            source.resume()
            return source
        }
        continuation.onTermination = { _ in for source in sources { source.cancel() } }
        return stream
    }
}
