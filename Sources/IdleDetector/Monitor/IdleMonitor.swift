// IdleDetector: whether somebody or something still uses the machine, and how that is known.
//
//   ProcessSource ─► ProcessTable ─┐
//   inotify, pidfds, time ─ wake ──► LookRounds ─► probes ─► ActivitySnapshot ─► IdlePolicy (pure) ─► IdleVerdict
//
//   Claude/     sessions: registry, transcript, wake-ups        Processes/  sweep, tools and orphans, jobs, other agents
//   Humans/     terminals, SSH, the web, changed files          Policy/     what counts, for how long
//
// Probes report what they see and when it last changed. They never judge, and never trust a file's time.

import CLinux
import Glibc
package import Supervision
import Synchronization

/// Runs the probes on a thread of its own, and tells what they see.
///
/// The thread sleeps in poll(2) until a session's file changes, a Claude ends, or a look is due. It may hang in the kernel
/// (a network mount that does not answer): the service goes on then, shows it, and the snapshots' reader notices that none
/// come.
package final class IdleMonitor: SupervisedService {
    package let monitor: ServiceMonitor
    private let makeParts: @Sendable () -> Parts
    private let onSnapshot: @Sendable (ActivitySnapshot) -> Void
    private let shared = Shared()

    /// What the thread works with.
    package struct Parts {
        package var source: any ProcessSource
        package var probes: [any ActivityProbe]

        package init(source: any ProcessSource, probes: [any ActivityProbe]) {
            self.source = source
            self.probes = probes
        }
    }

    /// A look that takes longer hangs.
    package static let hangLimit: Duration = .seconds(20)

    /// Creates a monitor that looks as soon as it runs.
    ///
    /// - Parameters:
    ///   - makeParts: called once, on the monitor's thread.
    ///   - onSnapshot: called on that thread, at every change and at least every 15 s; must not block.
    package init(
        monitor: ServiceMonitor, makeParts: @escaping @Sendable () -> Parts,
        onSnapshot: @escaping @Sendable (ActivitySnapshot) -> Void
    ) {
        self.monitor = monitor
        self.makeParts = makeParts
        self.onSnapshot = onSnapshot
    }

    /// The first look takes some 50 ms; whoever asks right after the start should hear of it.
    private static let firstPause: Duration = .milliseconds(50)

    /// Looks until cancelled.
    package func run() async throws {
        try start()
        while !Task.isCancelled {
            monitor.progressed()
            monitor.report(shared.health(now: .now(), hangLimit: Self.hangLimit))
            let pause = shared.hasTold ? Heartbeat.interval : Self.firstPause
            try? await Task.sleep(for: pause, clock: .suspending)
        }
        shared.stop()
    }

    private func start() throws {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, 512 << 10)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let work = Work { [shared, onSnapshot, makeParts] in
            let parts = makeParts()
            var rounds = LookRounds(
                source: parts.source, probes: parts.probes, now: .now(), onLook: { shared.looks(at: $0) })
            Self.look(&rounds, shared: shared, onSnapshot: onSnapshot)
        }
        let retained = Unmanaged.passRetained(work)
        var thread = pthread_t()
        let result = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                let work = Unmanaged<Work>.fromOpaque(argument).takeRetainedValue()
                pthread_setname_np(pthread_self(), "samd-idle")
                work.run()
                return nil
            }, retained.toOpaque())
        if result != 0 {
            retained.release()
            throw ProbeFailure("start the thread of idle detection: \(String(cString: strerror(result)))")
        }
    }

    private static func look(
        _ rounds: inout LookRounds, shared: Shared, onSnapshot: (ActivitySnapshot) -> Void
    ) {
        var ends = ProcessEnds()
        var readable: Set<Int32> = []
        while !shared.isStopped {
            let hasEnded = ends.forget(readable)
            if let snapshot = rounds.round(now: .now(), readable: readable, hasClaudeEnded: hasEnded) {
                shared.told(snapshot)
                onSnapshot(snapshot)
            }
            ends.watch(rounds.claude.keys)
            // A process that rewrites its session's file in a loop must not make this thread one, too.
            if !readable.isEmpty { _ = wait(until: .now() + shortestRest, for: [shared.wake]) }
            readable = wait(until: rounds.due, for: [shared.wake] + rounds.wakeDescriptors + ends.readable)
        }
    }

    /// Between two rounds of which the first was woken.
    private static let shortestRest: Duration = .milliseconds(100)

    /// Sleeps until a descriptor is readable or the time has come; at least a millisecond, so that no error makes it spin.
    private static func wait(until due: Moment, for descriptors: [Int32]) -> Set<Int32> {
        var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        let left = max(1, min(60_000, (due - .now()).wholeMilliseconds))
        guard poll(&polled, nfds_t(polled.count), Int32(left)) > 0 else { return [] }
        return Set(polled.filter { $0.revents != 0 }.map(\.fd))
    }

    /// A closure for a C thread.
    private final class Work: Sendable {
        private let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        func run() { body() }
    }
}

/// Between the thread and the service.
private final class Shared: Sendable {
    /// Becomes readable when the thread is to end.
    let wake: Int32 = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
    private let state = Mutex(State())

    private struct State {
        var isStopped = false
        var look: (name: String, since: Moment)?
        var signals = 0
        var failing: [String] = []
        var hasTold = false
    }

    // The thread and the service each keep it alive, so nobody waits on it any more.
    deinit { close(wake) }

    var hasTold: Bool { state.withLock { $0.hasTold } }

    var isStopped: Bool { state.withLock { $0.isStopped } }

    func stop() {
        state.withLock { $0.isStopped = true }
        var one: UInt64 = 1
        _ = write(wake, &one, 8)
    }

    func looks(at name: String?) {
        state.withLock { $0.look = name.map { ($0, .now()) } }
    }

    func told(_ snapshot: ActivitySnapshot) {
        state.withLock { state in
            state.hasTold = true
            state.signals = snapshot.signals.count
            state.failing = snapshot.probes.filter { $0.failingSince != nil }.map {
                "\($0.name): \($0.reason ?? "?")"
            }
        }
    }

    func health(now: Moment, hangLimit: Duration) -> ServiceHealth {
        state.withLock { state in
            if let look = state.look, now - look.since > hangLimit {
                return .degraded(
                    reason: "looking at \(look.name) has taken \(DurationWords.text(now - look.since))",
                    hint: "a file system may hang; the machine counts as used until the look ends")
            }
            if let failing = state.failing.first {
                return .degraded(
                    reason: "cannot look at \(failing)",
                    hint: "the machine counts as used as long as that is so; see samd idle")
            }
            return state.hasTold ? .ok(detail: "\(state.signals) signals") : .starting
        }
    }
}
