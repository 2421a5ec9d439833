internal import CLinux
internal import Glibc
internal import Synchronization

/// The one thread that enters other network namespaces: in, make sockets, back. It does nothing else, so that a
/// thread that cannot go back harms nothing: it ends, and another one takes its place.
final class NamespaceThread: Sendable {
    /// What a socket is wanted for.
    enum Purpose: Sendable {
        case connection(UInt64)
        /// Only to learn whether it can be done.
        case probe(Probe)
    }

    struct Request: Sendable {
        var purpose: Purpose
        var namespace: Descriptor
        var family: Int32
    }

    /// A socket inside, not blocking, or the errno.
    typealias Outcome = Result<Int32, Failure>
    struct Failure: Error { var errno: Int32 }

    /// Called on the thread, back in its own namespace; the socket is the callee's.
    typealias Delivery = @Sendable (UInt64, Outcome) -> Void

    private let home: Descriptor
    private let bell: Descriptor
    private let enter: @Sendable (Int32) -> Int32
    private let state = Mutex(State())

    private struct State {
        /// Bounded by the number of connections and targets: each has one at most.
        var requests: [Request] = []
        var thread: pthread_t?
        var isLost = false
        var isStopping = false
    }

    /// - Parameter enter: setns(2) for network namespaces; a parameter for the sake of tests.
    init(enter: @escaping @Sendable (Int32) -> Int32) throws(RelayError) {
        home = try NamespaceFile.own()
        let number = eventfd(0, Int32(EFD_CLOEXEC))
        guard number >= 0 else { throw RelayError("make", "an eventfd", errno: errno) }
        bell = Descriptor(number)
        self.enter = enter
    }

    /// Starts the thread, or a successor of one that was lost. Must be called from the own namespace, since a
    /// thread begins in its creator's. Does nothing while a sound one runs.
    func start(_ deliver: @escaping Delivery, onLoss: @escaping @Sendable () -> Void) throws(RelayError) {
        let lost: pthread_t? = state.withLock { state in
            guard state.isLost else { return nil }
            state.isLost = false
            return state.thread.take()
        }
        if let lost { pthread_join(lost, nil) }
        guard state.withLock({ $0.thread == nil && !$0.isStopping }) else { return }
        let thread = try Thread.start("samd-netns") { [self] in
            if work(deliver) { onLoss() }
        }
        state.withLock { $0.thread = thread }
    }

    /// Asks for a socket.
    func post(_ request: Request) {
        state.withLock { $0.requests.append(request) }
        ring(bell)
    }

    /// Ends the thread and waits for its end; requests still open are dropped.
    func stop() {
        let thread: pthread_t? = state.withLock { state in
            state.isStopping = true
            return state.thread.take()
        }
        ring(bell)
        if let thread { pthread_join(thread, nil) }
        state.withLock { $0.requests = [] }
    }

    /// True once the thread is lost, false once it was stopped.
    private func work(_ deliver: Delivery) -> Bool {
        while true {
            let (requests, isStopping) = state.withLock { state in
                defer { state.requests = [] }
                return (state.requests, state.isStopping)
            }
            if isStopping { return false }
            guard !requests.isEmpty else {
                listen(to: bell)
                continue
            }
            let (outcomes, isHome) = visit(requests)
            if !isHome { state.withLock { $0.isLost = true } }
            for (request, outcome) in zip(requests, outcomes) {
                switch request.purpose {
                case .connection(let token): deliver(token, outcome)
                case .probe(let probe): probe.answer(outcome)
                }
            }
            if !isHome { return true }
        }
    }

    /// Makes the sockets; requests for the same namespace in a row share one visit.
    private func visit(_ requests: [Request]) -> (outcomes: [Outcome], isHome: Bool) {
        var place: Descriptor?
        let outcomes: [Outcome] = requests.map { request in
            if place !== request.namespace {
                guard enter(request.namespace.number) == 0 else { return .failure(Failure(errno: errno)) }
                place = request.namespace
            }
            let type =
                Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let socket = socket(request.family, type, 0)
            return socket >= 0 ? .success(socket) : .failure(Failure(errno: errno))
        }
        return (outcomes, place == nil || enter(home.number) == 0)
    }
}

/// Waits for the answer whether a namespace can be entered.
final class Probe: @unchecked Sendable {
    /// Protected by `semaphore`: written once before the post, read after the wait.
    private var failure: Int32 = 0
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func answer(_ outcome: NamespaceThread.Outcome) {
        switch outcome {
        case .success(let socket): close(socket)
        case .failure(let failure): self.failure = failure.errno
        }
        sem_post(semaphore)
    }

    /// 0 or the errno; ETIMEDOUT when there was no answer by then.
    func wait(until deadline: Int64) -> Int32 {
        var time = timespec(tv_sec: Int(deadline / 1000), tv_nsec: Int(deadline % 1000) * 1_000_000)
        while sem_clockwait(semaphore, CLOCK_MONOTONIC, &time) != 0 {
            if errno != EINTR { return errno }
        }
        return failure
    }
}
