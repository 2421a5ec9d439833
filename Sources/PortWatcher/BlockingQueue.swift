import Dispatch

/// Runs calls that block, one at a time, on a thread that tasks do not share. Serves an actor as its
/// executor, or a single call through `run`.
final class BlockingQueue: SerialExecutor {
    private let queue: DispatchQueue

    /// Creates a queue; the label shows in a debugger.
    init(label: String) {
        queue = DispatchQueue(label: label)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    /// Runs `body` on the queue and waits for it, also when the task is cancelled.
    func run<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: body()) }
        }
    }
}
