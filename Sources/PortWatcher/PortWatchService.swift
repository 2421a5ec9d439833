package import ProcFS
package import Supervision
import Synchronization

/// Watches which ports are listened on and tells the whole set whenever it changes.
///
/// What cannot be read is shown as degraded health and removes nothing; the service ends only when cancelled.
package struct PortWatchService: SupervisedService {
    /// Triggers that may wait for the loop. When it is full, those in it already ask for a look that is yet
    /// to come, so that a dropped event or alarm loses nothing.
    static let triggerLimit = 64

    package let monitor: ServiceMonitor
    private let settings: PortWatchSettings
    private let scanner: PortScanner
    private let counters = Counters()
    private let now: @Sendable () -> SuspendingClock.Instant
    private let onChange: @Sendable ([ListeningPort]) async -> Void
    private let onWakeUpSource: @Sendable (WakeUpSource) async -> Void

    /// Creates the service; nothing happens before `run()`.
    ///
    /// - Parameters:
    ///   - monitor: stamped at least once per `Heartbeat.interval`.
    ///   - procfs: where the processes are seen; its `self` is the daemon.
    ///   - now: the clock: CLOCK_MONOTONIC, since a machine that was suspended has missed nothing.
    ///   - onChange: gets the whole set, sorted by identity: after the first scan that could read a table,
    ///     even if the set is empty, and on every change. The loop waits for it, so it must be quick.
    ///   - onWakeUpSource: gets what makes the watcher look, at the start and whenever that changes.
    package init(
        monitor: ServiceMonitor, procfs: ProcFileSystem = ProcFileSystem(),
        settings: PortWatchSettings = PortWatchSettings(),
        now: @escaping @Sendable () -> SuspendingClock.Instant = { SuspendingClock().now },
        onChange: @escaping @Sendable ([ListeningPort]) async -> Void,
        onWakeUpSource: @escaping @Sendable (WakeUpSource) async -> Void = { _ in }
    ) {
        self.monitor = monitor
        self.settings = settings
        self.now = now
        self.onChange = onChange
        self.onWakeUpSource = onWakeUpSource
        scanner = PortScanner(procfs: procfs, settings: settings)
    }

    /// What was done and seen so far; may be asked from any thread.
    package func statistics() -> PortWatchStatistics { counters.value.withLock { $0 } }

    /// Watches until cancelled. When it returns, the tracefs instance is gone.
    package func run() async {
        let (triggers, feed) = AsyncStream.makeStream(
            of: PortWatchTrigger.self, bufferingPolicy: .bufferingOldest(Self.triggerLimit))
        let alarm = Alarm(feed: feed)
        async let events: Void = watchKernelEvents(feed)
        await run(triggers: triggers) { alarm.set($0) }
        alarm.cancel()
        await events
    }

    /// Watches until the triggers end or the task is cancelled.
    ///
    /// - Parameters:
    ///   - wakeAt: called before each wait with the instant at which an `.alarm` is wanted at the latest.
    package func run(
        triggers: some AsyncSequence<PortWatchTrigger, Never>,
        wakeAt: (SuspendingClock.Instant) -> Void = { _ in }
    ) async {
        var loop = Loop(settings: settings, now: now())
        await lookIfDue(&loop)
        wakeAt(min(loop.nextLook, now().advanced(by: Heartbeat.interval)))
        for await trigger in triggers {
            switch trigger {
            case .alarm: break
            case .kernelEvent: loop.schedule.kernelEvent(at: now())
            case .wakeUpSource(let source):
                if loop.wakeUpSource != source { await onWakeUpSource(source) }
                loop.wakeUpSource = source
                loop.schedule.switched(toEvents: source == .kernelEvents, at: now())
            }
            await lookIfDue(&loop)
            wakeAt(min(loop.nextLook, now().advanced(by: Heartbeat.interval)))
        }
    }

    private final class Counters: Sendable {
        let value = Mutex(PortWatchStatistics())
    }

    private struct Loop {
        var changes: PortChanges
        var schedule: ScanSchedule
        var wakeUpSource: WakeUpSource?
        var verifiedAt: SuspendingClock.Instant
        var ownersCheck: OwnersCheck

        var wholeAt: SuspendingClock.Instant

        /// Quick looks may miss an exchange of two sockets; not for longer than this.
        func isWholeDue(at now: SuspendingClock.Instant) -> Bool { wholeAt.duration(to: now) >= .seconds(1) }

        var nextLook: SuspendingClock.Instant {
            min(schedule.nextScan, ownersCheck.dueAt ?? schedule.nextScan)
        }

        init(settings: PortWatchSettings, now: SuspendingClock.Instant) {
            changes = PortChanges(settings: settings)
            schedule = ScanSchedule(settings: settings, at: now)
            ownersCheck = OwnersCheck(delay: settings.ownersCheckDelay)
            verifiedAt = now
            wholeAt = now
        }
    }

    private func lookIfDue(_ loop: inout Loop) async {
        monitor.progressed()
        let start = now()
        guard loop.nextLook <= start else { return }
        let isCheckDue = loop.ownersCheck.dueAt.map { $0 <= start } ?? false
        let isVerifying = isCheckDue || loop.verifiedAt.duration(to: start) >= settings.reconcileInterval
        if isVerifying {
            loop.verifiedAt = start
            loop.ownersCheck.checked(at: start)
        }
        let depth: ScanDepth =
            isVerifying
            ? .verifying
            : loop.schedule.isConfirmation(at: start) || loop.isWholeDue(at: start) ? .whole : .quick
        if depth != .quick { loop.wholeAt = start }
        let scan = await scanner.scan(at: start, depth: depth)
        let end = now()
        counters.value.withLock { statistics in
            statistics.namespaces = scan.namespaces.count
            statistics.sockets = scan.observations.count
            statistics.scans += 1
            statistics.lastScan = start.duration(to: end)
        }
        let outcome = loop.changes.observe(scan, at: end)
        loop.schedule.scanned(from: start, to: end, outcome: outcome)
        // Another owner that a check found is no reason for the next one.
        if outcome.sawNewSocket || outcome.sawDifference && !isVerifying { loop.ownersCheck.changed(at: end) }
        if let snapshot = outcome.snapshot { await onChange(snapshot) }
        monitor.report(health(of: scan, count: loop.changes.count, source: loop.wakeUpSource))
        monitor.progressed()
    }

    private func health(of scan: PortScan, count: Int, source: WakeUpSource?) -> ServiceHealth {
        if let degraded = degradation(of: scan) { return degraded }
        var detail = "\(count) listener\(count == 1 ? "" : "s")"
        if scan.namespaces.count > 1 { detail += " in \(scan.namespaces.count) network namespaces" }
        switch source {
        case nil: break
        case .kernelEvents: detail += ", kernel events"
        case .polling: detail += ", polling"
        }
        if scan.hiddenOwnerCount > 0 {
            detail += ", \(scan.hiddenOwnerCount) of processes that may not be seen"
        }
        let closed = Set(scan.gaps.lazy.filter { $0.value.isDenial }.map(\.key.namespace)).count
        if closed > 0 {
            detail += ", \(closed) network namespace\(closed == 1 ? "" : "s") that may not be entered"
        }
        return .ok(detail: detail)
    }

    private func degradation(of scan: PortScan) -> ServiceHealth? {
        // The daemon's own namespace first, then in a fixed order.
        let gaps = scan.gaps.sorted { left, right in
            let isOwn = (left.key.namespace == scan.ownNamespace, right.key.namespace == scan.ownNamespace)
            if isOwn.0 != isOwn.1 { return isOwn.0 }
            return (left.key.namespace, left.key.table.rawValue) < (
                right.key.namespace, right.key.table.rawValue
            )
        }
        for (place, gap) in gaps {
            let isOwn = place.namespace == scan.ownNamespace
            switch gap {
            // Without rights one sees one's own.
            case .unreadable(let error) where gap.isDenial && !isOwn: _ = error
            case .unreadable(let error): return .degraded(reason: "\(error)", hint: error.hint)
            case .malformed(let rows, let first):
                let whose = isOwn ? "" : " of network namespace \(place.namespace)"
                return .degraded(
                    reason: "\(rows) rows of net/\(place.table.rawValue)\(whose) cannot be read: \(first)",
                    hint: "ports are still added, but none in this table is withdrawn; please report the row")
            }
        }
        if !scan.unreadNamespaces.isEmpty {
            return .degraded(
                reason: "\(scan.unreadNamespaces.count) network namespaces beyond the bound of "
                    + "\(NamespaceRegistry.namespaceLimit) are not watched",
                hint: "lsns -t net shows who made them")
        }
        return nil
    }

    /// Feeds kernel events while they can be had; where not, says why and tries again from time to time.
    private func watchKernelEvents(_ feed: AsyncStream<PortWatchTrigger>.Continuation) async {
        guard settings.events == .automatic else {
            await send(
                .wakeUpSource(.polling(reason: "kernel events are turned off (ports.events)")), to: feed)
            return
        }
        let queue = BlockingQueue(label: "samd.ports.tracefs")
        while !Task.isCancelled {
            let failure: KernelEventError?
            switch await queue.run({ openKernelEvents() }) {
            case .success(let source):
                await send(.wakeUpSource(.kernelEvents), to: feed)
                for await _ in source.events { feed.yield(.kernelEvent) }
                failure = source.loss
                await queue.run { source.close() }
            case .failure(let error):
                failure = error
            }
            guard !Task.isCancelled, let failure else { return }
            await send(.wakeUpSource(.polling(reason: "\(failure); \(failure.hint)")), to: feed)
            try? await SuspendingClock().sleep(for: settings.reopenInterval)
        }
    }

    private func openKernelEvents() -> Result<KernelEventSource, KernelEventError> {
        do throws(KernelEventError) {
            return .success(
                try KernelEventSource.open(
                    tracefs: settings.tracefsRoot, instance: settings.tracefsInstance))
        } catch {
            return .failure(error)
        }
    }

    /// Yields a trigger that must not be dropped.
    private func send(
        _ trigger: PortWatchTrigger, to feed: AsyncStream<PortWatchTrigger>.Continuation
    ) async {
        while !Task.isCancelled, case .dropped = feed.yield(trigger) {
            try? await SuspendingClock().sleep(for: settings.settleWindow)
        }
    }
}
