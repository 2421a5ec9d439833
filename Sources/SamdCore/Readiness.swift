import Synchronization

/// READY means: the first scan of ports is done and the first round with Caddy was attempted, whatever came of it.
final class Readiness: Sendable {
    private struct State {
        var hasScanned = false
        var hasAttempted = false
        var isOpen = false
    }
    private let state = Mutex(State())
    private let gate = AsyncStream.makeStream(of: Void.self)

    /// Whether the wait is over.
    var isOpen: Bool { state.withLock { $0.isOpen } }

    func scanned() { update { $0.hasScanned = true } }

    func attempted() { update { $0.hasAttempted = true } }

    /// Returns once both happened, at the latest after `limit`, or when the task is cancelled. One task waits.
    func wait(atMost limit: Duration) async {
        let alarm = Task { [continuation = gate.continuation] in
            try await Task.sleep(for: limit, clock: .suspending)
            continuation.finish()
        }
        defer { alarm.cancel() }
        for await _ in gate.stream {}
        state.withLock { $0.isOpen = true }
    }

    private func update(_ change: (inout State) -> Void) {
        let isComplete = state.withLock { state in
            change(&state)
            return state.hasScanned && state.hasAttempted
        }
        if isComplete { gate.continuation.finish() }
    }
}
