internal import Synchronization

/// The bounded buffer between a request's body stream and libcurl.
///
/// A *pump* task reads the stream and pushes; the engine's thread pulls. The pump waits while
/// `HTTPClient.bufferBytes` are ahead, the engine pauses the transfer while there is nothing.
final class UploadPipe: Sendable {
    /// What the engine gets when it asks for bytes.
    enum Pulled: Equatable {
        case bytes(Int)
        /// Nothing now; `push` and the end will return true to have the transfer resumed.
        case paused
        case end
        case failed(String)
    }

    private let expectedBytes: Int64?
    private let state = Mutex(State())

    private struct State {
        var chunks: [[UInt8]] = []
        /// How much of the first chunk was pulled.
        var offset = 0
        var bufferedBytes = 0
        var pushedBytes: Int64 = 0
        var isPaused = false
        var isStopped = false
        var end: Pulled?
        var roomWaiter: CheckedContinuation<Bool, Never>?
        var pump: Task<Void, Never>?
    }

    init(expectedBytes: Int64?) {
        self.expectedBytes = expectedBytes
    }

    // MARK: - Called by the pump

    /// Reads `source` to its end, into the pipe. `resume` is called whenever a paused transfer can go on.
    func start(
        _ source: any AsyncSequence<[UInt8], any Error> & Sendable, resume: @escaping @Sendable () -> Void
    ) {
        let pump = Task {
            do {
                for try await chunk in source where !chunk.isEmpty {
                    if push(chunk) { resume() }
                    guard await hasRoom() else { return }
                }
                if end(nil) { resume() }
            } catch {
                if end("the body's source failed: \(error)") { resume() }
            }
        }
        let stopped = state.withLock { state in
            state.pump = pump
            return state.isStopped
        }
        if stopped { pump.cancel() }
    }

    private func push(_ chunk: [UInt8]) -> Bool {
        state.withLock { state in
            state.chunks.append(chunk)
            state.bufferedBytes += chunk.count
            state.pushedBytes += Int64(chunk.count)
            defer { state.isPaused = false }
            return state.isPaused
        }
    }

    /// Waits until less than the bound is ahead; false when the transfer is over.
    private func hasRoom() async -> Bool {
        await withCheckedContinuation { continuation in
            let answer: Bool? = state.withLock { state in
                if state.isStopped { return false }
                if state.bufferedBytes < HTTPClient.bufferBytes { return true }
                state.roomWaiter = continuation
                return nil
            }
            if let answer { continuation.resume(returning: answer) }
        }
    }

    private func end(_ failure: String?) -> Bool {
        state.withLock { state in
            if let failure {
                state.end = .failed(failure)
            } else if let expectedBytes, state.pushedBytes < expectedBytes {
                state.end = .failed(
                    "the body ended after \(state.pushedBytes) of \(expectedBytes) announced bytes")
            } else {
                state.end = .end
            }
            defer { state.isPaused = false }
            return state.isPaused
        }
    }

    // MARK: - Called on the engine's thread

    /// Moves what is there into `target`.
    func pull(into target: UnsafeMutableRawBufferPointer) -> Pulled {
        let (pulled, waiter) = state.withLock { state in
            if let expectedBytes, state.pushedBytes > expectedBytes {
                return (
                    Pulled.failed("the body is longer than the \(expectedBytes) announced bytes"),
                    nil as CheckedContinuation<Bool, Never>?
                )
            }
            let copied = Self.copy(from: &state, into: target)
            if copied == 0 {
                state.isPaused = state.end == nil
                return (state.end ?? .paused, nil)
            }
            let hasRoom = state.bufferedBytes < HTTPClient.bufferBytes
            return (.bytes(copied), hasRoom ? state.roomWaiter.take() : nil)
        }
        waiter?.resume(returning: true)
        return pulled
    }

    private static func copy(from state: inout State, into target: UnsafeMutableRawBufferPointer) -> Int {
        var copied = 0
        var emptied = 0
        for chunk in state.chunks {
            let count = min(chunk.count - state.offset, target.count - copied)
            chunk.withUnsafeBytes { bytes in
                UnsafeMutableRawBufferPointer(rebasing: target[copied..<(copied + count)])
                    .copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: bytes[state.offset..<(state.offset + count)]))
            }
            copied += count
            state.offset += count
            guard state.offset == chunk.count else { break }
            state.offset = 0
            emptied += 1
        }
        state.chunks.removeFirst(emptied)
        state.bufferedBytes -= copied
        return copied
    }

    /// Ends the pump; nothing will be pulled any more.
    func stop() {
        let (pump, waiter) = state.withLock { state in
            state.isStopped = true
            state.chunks = []
            return (state.pump.take(), state.roomWaiter.take())
        }
        waiter?.resume(returning: false)
        pump?.cancel()
    }
}
