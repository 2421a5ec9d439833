internal import Synchronization

/// Lets one task wait until something happened or a time passed. What happens while nobody waits is kept, once.
final class WakeUp: Sendable {
    private let state = Mutex(State())

    private struct State {
        var isFired = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    /// Wakes the waiting task, or the next one.
    func fire() {
        let waiter = state.withLock { state in
            state.isFired = state.waiter == nil
            return state.waiter.take()
        }
        waiter?.resume()
    }

    /// Returns after `fire()`, after `limit`, or when cancelled; now and then early, when a timer of an earlier wait
    /// could not be called off any more.
    func wait(upTo limit: Duration) async {
        let timer = Task {
            try await Task.sleep(for: limit, clock: .suspending)
            fire()
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready = state.withLock { state in
                    if state.isFired || Task.isCancelled {
                        state.isFired = false
                        return true
                    }
                    state.waiter = continuation
                    return false
                }
                if ready { continuation.resume() }
            }
        } onCancel: {
            fire()
        }
        timer.cancel()
    }
}

/// Opens once; whoever waits then goes on.
final class Latch: Sendable {
    private let state = Mutex(State())

    private struct State {
        var isOpen = false
        var nextID = 0
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
    }

    func open() {
        let waiters = state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns when open or when the task is cancelled.
    func wait() async {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready = state.withLock { state in
                    if state.isOpen || Task.isCancelled { return true }
                    state.waiters[id] = continuation
                    return false
                }
                if ready { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: id) }?.resume()
        }
    }
}
