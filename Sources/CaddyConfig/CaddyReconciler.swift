package import Supervision
internal import Synchronization

/// How one attempt to bring a document to Caddy went.
package enum ReconcileOutcome: Sendable, Equatable {
    /// Caddy serves the newest document. `changed` is false when it did so already. `took` counts from `submit`.
    case applied(CaddyDocument, changed: Bool, took: Duration)
    /// Caddy had lost or changed our server (a foreign `/load`, a reload, a restart); it is back. `took` counts from
    /// when that was seen.
    case repaired(CaddyDocument, took: Duration)
    /// Caddy does not answer; it is asked again until it does.
    case unreachable(CaddyError)
    /// Caddy answers and refuses; it is asked again slowly, and at once for a new document.
    case refused(CaddyError)
}

/// What Caddy does not do although the document wants it, while the routes are served all the same.
package struct CaddyExtras: Sendable, Equatable {
    /// Why there is no access log; nil when there is one or none is wanted.
    package var accessLog: String?
    /// Why TLS is not as wanted; nil when it is.
    package var tls: String?

    /// Nothing is missing.
    package init() {}
}

/// Intervals of the reconciler.
package struct CaddySettings: Sendable {
    /// How often the configuration is looked at when all is well.
    package var verifyInterval: Duration
    /// Wait after the first failed attempt to reach Caddy; doubles with each, with jitter of ±20 %.
    package var firstRetry: Duration
    /// The longest such wait.
    package var longestRetry: Duration
    /// Wait after the first refusal; doubles up to twelve times as long.
    package var refusedRetry: Duration
    /// How often what we have in places shared with others is looked at when all is well, and what Caddy refused of it is
    /// asked for again.
    package var sharedInterval: Duration
    /// Between two writes at least: somebody's server that comes and goes must not keep Caddy reloading. The first is
    /// not delayed.
    package var writeInterval: Duration

    /// The defaults of the daemon.
    package init(
        verifyInterval: Duration = .seconds(5), firstRetry: Duration = .milliseconds(250),
        longestRetry: Duration = .seconds(2), refusedRetry: Duration = .seconds(5),
        sharedInterval: Duration = .seconds(60), writeInterval: Duration = .milliseconds(100)
    ) {
        self.verifyInterval = verifyInterval
        self.firstRetry = firstRetry
        self.longestRetry = longestRetry
        self.refusedRetry = refusedRetry
        self.sharedInterval = sharedInterval
        self.writeInterval = writeInterval
    }
}

/// Keeps our server in Caddy, and what it needs beside it, equal to the newest document.
///
/// There is one writer, the task in `run()`. It looks when a document comes, when the admin socket appears or goes,
/// and every `verifyInterval`; it writes only what differs. Ending it leaves Caddy as it is: published ports stay up.
package final class CaddyReconciler: SupervisedService {
    /// Where progress and health are shown.
    package let monitor: ServiceMonitor
    private let admin: CaddyAdminClient
    private let settings: CaddySettings
    private let onOutcome: @Sendable (ReconcileOutcome) async -> Void
    private let mailbox = Mutex(Mailbox())
    private let wakeUp = WakeUp()
    private let attempted = Latch()
    private let missing = Mutex(CaddyExtras())
    private let clock = SuspendingClock()

    /// An attempt may take so long before the watchdog is told nothing more: some requests of 10 s each.
    private static let longestAttemptSeconds = 60

    private struct Mailbox {
        var newest: Submission?
        var socketChanged = false
    }

    private struct Submission {
        var document: CaddyDocument
        var submitted: SuspendingClock.Instant
        var number: UInt64
    }

    /// What the loop remembers between attempts.
    private struct Memory {
        var reconciliation = Reconciliation()
        /// The number of the submission that was last told about.
        var toldNumber: UInt64 = 0
        /// The number of the submission that Caddy last had.
        var appliedNumber: UInt64 = 0
        var lastTold: ReconcileOutcome?
        var refusals = 0
        /// How long to wait when Caddy is not reached the next time.
        var retryWait: Duration
        var nextAttempt: SuspendingClock.Instant
        /// Before this a new document has to wait.
        var nextWrite: SuspendingClock.Instant
    }

    /// Creates the service.
    ///
    /// - Parameter onOutcome: called after the first attempt with each document, after a repair, and when the outcome
    ///   differs from the one before; not for every retry or verification.
    package init(
        monitor: ServiceMonitor, admin: CaddyAdminClient, settings: CaddySettings = CaddySettings(),
        onOutcome: @escaping @Sendable (ReconcileOutcome) async -> Void
    ) {
        self.monitor = monitor
        self.admin = admin
        self.settings = settings
        self.onOutcome = onOutcome
    }

    /// Asks for this document; an older one that was not written yet is forgotten.
    package func submit(_ document: CaddyDocument) {
        let now = clock.now
        mailbox.withLock { mailbox in
            mailbox.newest = Submission(
                document: document, submitted: now, number: (mailbox.newest?.number ?? 0) + 1)
        }
        wakeUp.fire()
    }

    /// What is missing beside the routes, as of the last attempt.
    package func extras() -> CaddyExtras { missing.withLock { $0 } }

    /// Waits until Caddy was asked for the first time, with whatever result, or the task is cancelled.
    package func firstAttempt() async {
        await attempted.wait()
    }

    /// Reconciles until cancelled.
    package func run() async throws {
        let watch = SocketWatch(endpoint: admin.endpoint) { [weak self] in
            self?.mailbox.withLock { $0.socketChanged = true }
            self?.wakeUp.fire()
        }
        defer { watch?.stop() }
        var memory = Memory(retryWait: settings.firstRetry, nextAttempt: clock.now, nextWrite: clock.now)
        while !Task.isCancelled {
            monitor.progressed()
            let (submission, socketChanged) = mailbox.withLock { mailbox in
                defer { mailbox.socketChanged = false }
                return (mailbox.newest, mailbox.socketChanged)
            }
            var due = clock.now.advanced(by: Heartbeat.interval)
            if let submission {
                if socketChanged { memory.retryWait = Self.firstRetryAfterSocket }
                let isNew = submission.number != memory.toldNumber
                due = isNew ? min(memory.nextWrite, memory.nextAttempt) : memory.nextAttempt
                if socketChanged || clock.now >= due {
                    await attempt(submission, isNew: isNew, memory: &memory)
                    continue
                }
            }
            let untilDue = clock.now.duration(to: due)
            await wakeUp.wait(upTo: min(max(untilDue, .zero), Heartbeat.interval))
        }
    }

    /// The socket's file appears a moment before Caddy listens on it.
    private static let firstRetryAfterSocket = Duration.milliseconds(10)

    private func attempt(_ submission: Submission, isNew: Bool, memory: inout Memory) async {
        let began = clock.now
        let before = memory.reconciliation
        let occasion = Reconciliation.Occasion(
            now: began, isNew: isNew, sharedInterval: settings.sharedInterval)
        let result = await withHeartbeat { [admin] in
            var reconciliation = before
            do throws(CaddyError) {
                let change = try await reconciliation.reconcile(
                    submission.document, on: occasion, through: admin)
                return (reconciliation, Result<Reconciliation.Change, CaddyError>.success(change))
            } catch {
                return (reconciliation, .failure(error))
            }
        }
        if Task.isCancelled { return }
        memory.reconciliation = result.0
        if result.0.writeCount != before.writeCount {
            memory.nextWrite = clock.now.advanced(by: settings.writeInterval)
        }
        let extras = result.0.extras
        missing.withLock { $0 = extras }
        let document = submission.document
        let outcome: ReconcileOutcome
        switch result.1 {
        case .success(.repaired): outcome = .repaired(document, took: began.duration(to: clock.now))
        case .success(let change):
            let isFirst = submission.number != memory.appliedNumber
            let took = (isFirst ? submission.submitted : began).duration(to: clock.now)
            memory.appliedNumber = submission.number
            outcome = .applied(document, changed: change == .written, took: took)
        case .failure(let error):
            outcome = error.kind == .unreachable ? .unreachable(error) : .refused(error)
        }
        schedule(after: outcome, memory: &memory)
        monitor.report(outcome.health(extras))
        attempted.open()
        if isNew || outcome.isNews(after: memory.lastTold) {
            memory.toldNumber = submission.number
            memory.lastTold = outcome
            await onOutcome(outcome)
        }
    }

    private func schedule(after outcome: ReconcileOutcome, memory: inout Memory) {
        let wait: Duration
        switch outcome {
        case .applied, .repaired:
            memory.refusals = 0
            memory.retryWait = settings.firstRetry
            wait = settings.verifyInterval
        case .unreachable:
            wait = memory.retryWait
            memory.retryWait = min(memory.retryWait * 2, settings.longestRetry)
        case .refused:
            wait = min(settings.refusedRetry * (1 << min(memory.refusals, 4)), settings.refusedRetry * 12)
            memory.refusals += 1
        }
        memory.nextAttempt = clock.now.advanced(by: wait * Double.random(in: 0.8...1.2))
    }

    /// Runs `work` and stamps progress meanwhile, up to a bound: a request that never ends has to be noticed.
    private func withHeartbeat<Value: Sendable>(_ work: @escaping @Sendable () async -> Value) async -> Value
    {
        let monitor = monitor
        let beating = Task {
            for _ in 0..<Self.longestAttemptSeconds {
                try await Task.sleep(for: Heartbeat.interval, clock: .suspending)
                monitor.progressed()
            }
        }
        defer { beating.cancel() }
        return await work()
    }
}

extension ReconcileOutcome {
    /// What status and watchdog see.
    fileprivate func health(_ extras: CaddyExtras) -> ServiceHealth {
        switch self {
        case .applied(let document, _, _), .repaired(let document, _):
            if let problem = extras.tls {
                .degraded(
                    reason: "Caddy does not take the certificate and serves the one before: \(problem)",
                    hint: "mend caddy.certificate and caddy.key, then: systemctl reload samd")
            } else {
                .ok(
                    detail: (document.routes.count == 1 ? "1 route" : "\(document.routes.count) routes")
                        + (extras.accessLog.map { "; no access log: \($0)" } ?? ""))
            }
        case .unreachable(let error), .refused(let error): .degraded(reason: error.reason, hint: error.hint)
        }
    }

    /// Whether someone who heard `previous` wants to hear this.
    fileprivate func isNews(after previous: ReconcileOutcome?) -> Bool {
        switch (self, previous) {
        case (.repaired, _): true
        case (.applied(_, let changed, _), .applied): changed
        case (.applied, .repaired): false
        case (.unreachable(let error), .unreachable(let earlier)),
            (.refused(let error), .refused(let earlier)):
            error != earlier
        default: true
        }
    }
}
