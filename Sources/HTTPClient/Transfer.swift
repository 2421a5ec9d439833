internal import Synchronization

/// What the engine's thread and the tasks share about one request on its way.
final class Transfer: Sendable {
    let id: UInt64
    let request: HTTPRequest
    /// Present when the body is a stream.
    let upload: UploadPipe?
    private let engine: TransferEngine
    private let state = Mutex(State())

    typealias HeadResult = Result<HTTPResponseHead, HTTPClientError>
    typealias ChunkResult = Result<[UInt8]?, HTTPClientError>

    private struct State {
        var head: HTTPResponseHead?
        var trailers = HTTPHeaders()
        var headWaiter: CheckedContinuation<HeadResult, Never>?
        var buffer: [UInt8] = []
        /// The engine stopped receiving because `buffer` was full.
        var receivePaused = false
        var chunkWaiter: CheckedContinuation<ChunkResult, Never>?
        var isCancelled = false
        var end: Result<Void, HTTPClientError>?
    }

    init(id: UInt64, request: HTTPRequest, engine: TransferEngine) {
        self.id = id
        self.request = request
        self.engine = engine
        if case .stream(let length, _) = request.body {
            self.upload = UploadPipe(expectedBytes: length)
        } else {
            self.upload = nil
        }
    }

    func error(_ kind: HTTPClientError.Kind, _ detail: String, hint: String? = nil) -> HTTPClientError {
        HTTPClientError(operation: request.operation, kind: kind, detail: detail, hint: hint)
    }

    // MARK: - Called by tasks

    /// Waits for status and headers. Cancelling the task cancels the transfer.
    func awaitHead() async -> HeadResult {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let ready: HeadResult? = state.withLock { state in
                    if let head = state.head { return .success(head) }
                    if case .failure(let error) = state.end { return .failure(error) }
                    state.headWaiter = continuation
                    return nil
                }
                if let ready { continuation.resume(returning: ready) }
            }
        } onCancel: {
            cancel()
        }
    }

    /// Waits for the next piece of the body. Cancelling the task cancels the transfer.
    func nextChunk() async -> ChunkResult {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                takeChunk(for: continuation)
            }
        } onCancel: {
            cancel()
        }
    }

    private func takeChunk(for continuation: CheckedContinuation<ChunkResult, Never>) {
        let (ready, resume): (ChunkResult?, Bool) = state.withLock { state in
            if state.isCancelled { return (.failure(error(.cancelled, "cancelled")), false) }
            if !state.buffer.isEmpty {
                var chunk: [UInt8] = []
                swap(&chunk, &state.buffer)
                defer { state.receivePaused = false }
                return (.success(chunk), state.receivePaused)
            }
            switch state.end {
            case .success: return (.success(nil), false)
            case .failure(let error): return (.failure(error), false)
            case nil: break
            }
            if state.chunkWaiter != nil {
                return (.failure(error(.invalidRequest, "two tasks read the same body")), false)
            }
            state.chunkWaiter = continuation
            return (nil, false)
        }
        if resume { engine.post(.resumeReceiving(id)) }
        if let ready { continuation.resume(returning: ready) }
    }

    /// The trailers received so far.
    var trailers: HTTPHeaders { state.withLock { $0.trailers } }

    /// Ends the transfer now; without effect when it has ended.
    func cancel() {
        let first = state.withLock { state in
            defer { state.isCancelled = true }
            return !state.isCancelled && state.end == nil
        }
        if first { engine.post(.cancel(id)) }
    }

    // MARK: - Called on the engine's thread

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    func receive(_ head: HTTPResponseHead) {
        let waiter = state.withLock { state in
            state.head = head
            return state.headWaiter.take()
        }
        waiter?.resume(returning: .success(head))
    }

    func receiveTrailer(_ field: HTTPHeaders.Field) {
        state.withLock { $0.trailers.fields.append(field) }
    }

    /// Takes a piece of the body. False when the buffer is full: then nothing was taken, and `.resumeReceiving`
    /// follows as soon as it is empty.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let (taken, waiter) = state.withLock { state in
            if state.buffer.count >= HTTPClient.bufferBytes {
                state.receivePaused = true
                return (false, nil as CheckedContinuation<ChunkResult, Never>?)
            }
            if let waiter = state.chunkWaiter.take() { return (true, waiter) }
            state.buffer.append(contentsOf: bytes)
            return (true, nil)
        }
        waiter?.resume(returning: .success([UInt8](bytes)))
        return taken
    }

    /// The last call: whatever waits gets its answer, the body's source is let go.
    func finish(_ result: Result<Void, HTTPClientError>) {
        let (headWaiter, chunkWaiter, end) = state.withLock { state in
            var end = result
            if case .success = result, state.head == nil {
                end = .failure(error(.malformed, "the response has no status line"))
            }
            state.end = end
            return (state.headWaiter.take(), state.chunkWaiter.take(), end)
        }
        if case .failure(let error) = end { headWaiter?.resume(returning: .failure(error)) }
        chunkWaiter?.resume(returning: end.map { nil })
        upload?.stop()
    }
}
