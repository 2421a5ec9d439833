import CaddyConfig
import HTTPClient
import Supervision
import Synchronization
import Testing

/// A running reconciler and what it says.
struct RunningReconciler {
    let reconciler: CaddyReconciler
    let monitor: ServiceMonitor
    /// Every outcome, in order.
    var outcomes: AsyncStream<ReconcileOutcome>.Iterator

    /// The next outcome that satisfies `condition`; others before it are dropped.
    mutating func next(where condition: (ReconcileOutcome) -> Bool) async -> ReconcileOutcome? {
        while let outcome = await outcomes.next() {
            if condition(outcome) { return outcome }
        }
        return nil
    }

    /// The next outcome.
    mutating func next() async throws -> ReconcileOutcome { try #require(await outcomes.next()) }

    /// Expects the next outcome to be a document that was written.
    mutating func expectChange(_ place: SourceLocation = #_sourceLocation) async throws {
        let outcome = try await next()
        #expect(outcome.wasChanged, sourceLocation: place)
    }

    /// The next outcome's error.
    mutating func nextError() async throws -> CaddyError {
        let outcome = try await next()
        return try #require(outcome.error)
    }
}

/// Intervals at which nothing happens by itself within a test.
let quiet = CaddySettings(
    verifyInterval: .seconds(600), firstRetry: .seconds(600), longestRetry: .seconds(600),
    refusedRetry: .seconds(600), sharedInterval: .seconds(600), writeInterval: .zero)

/// Intervals for tests that wait for retries and verification.
let brisk = CaddySettings(
    verifyInterval: .milliseconds(30), firstRetry: .milliseconds(20), longestRetry: .milliseconds(50),
    refusedRetry: .milliseconds(100), sharedInterval: .milliseconds(200), writeInterval: .zero)

/// Runs a reconciler during `body`.
func withReconciler(
    _ admin: CaddyAdminClient, settings: CaddySettings = quiet,
    body: (inout RunningReconciler) async throws -> Void
) async throws {
    let (stream, feed) = AsyncStream<ReconcileOutcome>.makeStream(bufferingPolicy: .bufferingOldest(1000))
    let monitor = ServiceMonitor(name: "caddy")
    let reconciler = CaddyReconciler(monitor: monitor, admin: admin, settings: settings) { feed.yield($0) }
    let service = Task { try await reconciler.run() }
    var running = RunningReconciler(
        reconciler: reconciler, monitor: monitor, outcomes: stream.makeAsyncIterator())
    do {
        try await body(&running)
    } catch {
        service.cancel()
        _ = await service.result
        throw error
    }
    service.cancel()
    try await service.value
}

extension ReconcileOutcome {
    var isApplied: Bool { if case .applied = self { true } else { false } }
    var isRepaired: Bool { if case .repaired = self { true } else { false } }
    var isUnreachable: Bool { if case .unreachable = self { true } else { false } }
    var isRefused: Bool { if case .refused = self { true } else { false } }
    var error: CaddyError? {
        switch self {
        case .unreachable(let error), .refused(let error): error
        case .applied, .repaired: nil
        }
    }
    var wasChanged: Bool { if case .applied(_, let changed, _) = self { changed } else { false } }
}
