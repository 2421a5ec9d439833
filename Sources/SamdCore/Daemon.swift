import CLinux
import CaddyConfig
import HTTPClient
import IdleDetector
import Logging
import NamespaceRelay
import PortWatcher
import ProcFS
import Supervision
import Synchronization
import Systemd

/// The daemon: what runs, in which order it depends on each other, and how it ends.
///
/// ports ──► state ──► relays and caddy ──► state ──► connections that must end; accessLog ──► traffic; probes ──► idle;
/// api reads them all;
/// the watchdog reads every service's progress. A service that throws ends the daemon, and systemd starts it again; Caddy
/// keeps serving the routes meanwhile.
package struct Daemon: Sendable {
    private let setup: DaemonSetup
    private let signals: AsyncStream<DaemonSignal>

    /// Creates a daemon from what `DaemonSetup` prepared.
    ///
    /// - Parameter signals: what asks the daemon to stop or to read its configuration again.
    package init(_ setup: DaemonSetup, signals: AsyncStream<DaemonSignal>) {
        self.setup = setup
        self.signals = signals
    }

    /// Runs until a signal asks it to stop. Published routes stay in Caddy, so that URLs answer across a restart.
    package func run() async throws {
        let log = setup.log
        let notifier = setup.notifier
        let monitors = Monitors(
            log: log, hasAccessLog: setup.accessLogListener != nil, hasIdle: setup.configuration.idle.enabled)
        let readiness = Readiness()
        let http = HTTPClient()
        defer { http.close() }

        let outcomes = AsyncStream.makeStream(
            of: ReconcileOutcome.self, bufferingPolicy: .bufferingNewest(16))
        let admin = setup.caddyAdmin(http)
        let caddy = CaddyReconciler(
            monitor: monitors.caddy, admin: admin, onOutcome: { outcomes.continuation.yield($0) })
        let identity = CaddyIdentity(admin: admin)
        let relays = NamespaceRelays(
            monitor: monitors.relays, folder: setup.configuration.relayFolder,
            mayConnect: { identity.mayConnect($0) })
        let traffic = PortTraffic()
        let web = WebWatch()
        let holdSignals = HoldSignals()
        let sourceChanges = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let accessLog = setup.accessLogListener.map { listener in
            AccessLogService(
                monitor: monitors.accessLog, listener: listener, mayConnect: { identity.mayConnect($0) },
                onEntries: { entries in
                    traffic.add(entries)
                    if web.add(entries, names: traffic, at: .now()) { sourceChanges.continuation.yield() }
                })
        }
        let relayed = AsyncStream.makeStream(
            of: (requests: [RelayRequest], failures: [String: Refusal]).self,
            bufferingPolicy: .bufferingNewest(16))
        let state = setup.state(
            traffic: traffic, submit: { caddy.submit($0) }, relays: relays,
            onRelays: { relayed.continuation.yield((requests: $0, failures: $1)) },
            ender: ConnectionEnder(caddy: identity, relays: relays, log: log),
            extras: { caddy.extras() },
            onStatusLine: { line in if readiness.isOpen { notifier.status(line) } })
        let ports = PortWatchService(
            monitor: monitors.ports, procfs: ProcFileSystem(), settings: setup.portWatchSettings,
            onChange: { ports in
                identity.learn(from: ports)
                await state.portsChanged(ports)
                readiness.scanned()
            },
            onWakeUpSource: { await state.wakeUpSourceChanged($0) })
        var sources = IdleSources()
        let hasRequestLog = setup.accessLogListener != nil
        sources.probes = { now in
            [
                ProbeReport(
                    name: "web", lastLook: now,
                    reason: hasRequestLog ? nil : "caddy.access_log is off: requests do not count")
            ]
        }
        sources.web = { web.signals(now: $0) }
        sources.holds = { holdSignals.signals(now: $0) }
        let holds = setup.holds(onChange: { signals in
            holdSignals.set(signals)
            sourceChanges.continuation.yield()
        })
        let notifications = setup.notifications(monitor: monitors.notify, http: http, state: state)
        let idle = setup.idleState(
            sources: sources, vm: await state.vm(),
            notify: { request in Task { await notifications.notify(request) } },
            showSummary: { summary in Task { await state.idleChanged(summary) } })
        let owners = OwnerCheck()
        let snapshots = AsyncStream.makeStream(
            of: ActivitySnapshot.self, bufferingPolicy: .bufferingNewest(1))
        let idleMonitor = IdleMonitor(
            monitor: monitors.idle, makeParts: { setup.idleParts(owners: owners) },
            onSnapshot: { snapshots.continuation.yield($0) })
        let metrics: @Sendable () async -> [MetricFamily] = {
            DaemonMetrics(
                ports: await state.portList(), services: monitors.all.map { $0.snapshot() },
                watch: ports.statistics(), traffic: traffic.snapshot(), trafficElsewhere: traffic.elsewhere,
                accessLog: accessLog?.statistics() ?? AccessLogStatistics(), relays: relays.statistics(),
                relayTotal: relays.total(),
                events: log.counts(), idle: await idle?.metrics(), notifications: notifications.counts()
            ).families
        }
        let api = LocalAPIServer(
            monitor: monitors.api, listener: setup.listener,
            routes: LocalAPIRoutes(
                state: state, log: log, about: setup.facts, monitors: monitors.all, holds: holds,
                testNotification: { () async throws(ProblemDetails) in try await notifications.test() },
                authorization: { await setup.authorization(state) }, metrics: metrics, idle: idle),
            logger: setup.logger)
        let services: [any SupervisedService] =
            [ports, relays, caddy, api, notifications] + (accessLog.map { [$0] } ?? [])
            + (idle == nil ? [] : [idleMonitor])
        let watchdog = WatchdogService(
            monitor: monitors.watchdog, watched: services.map(\.monitor),
            limit: setup.configuration.daemon.stallLimit, timeout: notifier.watchdogTimeout, log: log,
            ping: { notifier.watchdogPing() })

        // Before the first look: what a process is taken for at first sight is remembered.
        owners.update(await state.ownerCheck())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for service in services + [watchdog] {
                let service = setup.withInjectedFault(service)
                group.addTask { try await Self.supervise(service) }
            }
            if let idle {
                group.addTask { await idle.run() }
                group.addTask {
                    for await snapshot in snapshots.stream {
                        await idle.snapshotChanged(snapshot)
                        // Users may have been created, or the configuration read again.
                        owners.update(await state.ownerCheck())
                    }
                }
                group.addTask { for await _ in sourceChanges.stream { await idle.sourcesChanged() } }
            }
            group.addTask { await holds.keeper.keepTime() }
            group.addTask {
                for await outcome in outcomes.stream {
                    await state.caddyReported(outcome)
                    readiness.attempted()
                }
            }
            group.addTask {
                for await result in relayed.stream {
                    await state.relaysReported(result.requests, failures: result.failures)
                }
            }
            group.addTask {
                await readiness.wait(atMost: Self.readinessPatience)
                try Task.checkCancellation()
                let status = await state.statusLine()
                notifier.ready(status: status)
                log.record(.daemonReady, level: .notice, "samd \(SamdVersion.current) is ready: \(status)")
                try await Task.sleep(for: Self.startUpTime, clock: .suspending)
                // Some 10 MB of code ran once: configuration, units, first looks. It is not kept resident.
                _ = samd_forget_code()
                try await Task.sleep(for: .seconds(86_400 * 3650), clock: .suspending)
            }
            group.addTask {
                try await Self.obey(signals, setup: setup, state: state) { new in
                    await idle?.reconfigure(new.idle.policy)
                    await holds.keeper.setCap(new.idle.policy.holdCap)
                    notifications.reconfigure(new.notify)
                }
                throw CancellationError()
            }
            defer {
                group.cancelAll()
                log.close()
            }
            // Not waitForAll(): that waits for every task before it passes the first error on.
            do { while try await group.next() != nil {} } catch is CancellationError {}
        }
    }

    /// READY comes by then even when ports cannot be read: status and health say what is wrong, a failed start would not.
    private static let readinessPatience: Duration = .seconds(10)

    /// By then every service has looked for the first time.
    private static let startUpTime: Duration = .seconds(60)

    /// A service that returns although nobody cancelled it is as broken as one that throws.
    private static func supervise(_ service: any SupervisedService) async throws {
        try await service.run()
        if !Task.isCancelled { throw ServiceEnded(name: service.monitor.name) }
    }

    private static func obey(
        _ signals: AsyncStream<DaemonSignal>, setup: DaemonSetup, state: DaemonState,
        reconfigureOthers: (Configuration) async -> Void
    ) async throws {
        var configuration = setup.configuration
        for await signal in signals {
            switch signal {
            case .reload:
                setup.notifier.reloading()
                if let new = setup.reload(over: configuration) {
                    do {
                        try await state.reconfigure(new, certificate: try CertificateFiles.load(new))
                        await reconfigureOthers(new)
                        configuration = new
                    } catch {
                        setup.log.record(
                            .configurationRefused, level: .error,
                            "the new configuration is not used: \(error)")
                    }
                }
                setup.notifier.ready(status: await state.statusLine())
            case .stop(let name):
                setup.notifier.stopping(status: "stopping on \(name); published URLs stay up in Caddy")
                setup.log.record(
                    .daemonStopping, level: .notice, "samd stops on \(name); published URLs stay up in Caddy",
                    ["signal": name])
                return
            }
        }
    }

    /// One monitor per service; falling ill and getting well again are events.
    private struct Monitors {
        let ports, relays, caddy, accessLog, idle, api, notify, watchdog: ServiceMonitor
        let all: [ServiceMonitor]

        init(log: EventLog, hasAccessLog: Bool, hasIdle: Bool) {
            let announcer = HealthAnnouncer(log: log)
            ports = ServiceMonitor(name: "ports", onHealthChange: announcer.changed)
            // The state reports Caddy's troubles itself, with the event kinds that name them.
            caddy = ServiceMonitor(name: "caddy")
            relays = ServiceMonitor(name: "relays", onHealthChange: announcer.changed)
            accessLog = ServiceMonitor(name: "access-log", onHealthChange: announcer.changed)
            idle = ServiceMonitor(name: "idle", onHealthChange: announcer.changed)
            api = ServiceMonitor(name: "api", onHealthChange: announcer.changed)
            // It tells of its failures itself, each with what could not be delivered.
            notify = ServiceMonitor(name: "notify")
            watchdog = ServiceMonitor(name: "watchdog", onHealthChange: announcer.changed)
            all =
                [ports, relays, caddy] + (hasAccessLog ? [accessLog] : []) + (hasIdle ? [idle] : [])
                + [api, notify, watchdog]
        }
    }
}

/// A service returned on its own.
package struct ServiceEnded: Error, CustomStringConvertible {
    let name: String
    package var description: String { "service \(name) ended by itself; this is a defect of samd" }
}

/// Turns changes of health into events: each illness once with its reason, and the recovery from it.
private final class HealthAnnouncer: Sendable {
    private let log: EventLog
    private let degraded = Mutex<Set<String>>([])

    init(log: EventLog) { self.log = log }

    @Sendable func changed(_ name: String, _ health: ServiceHealth) {
        switch health {
        case .degraded(let reason, let hint):
            degraded.withLock { _ = $0.insert(name) }
            log.record(
                .serviceDegraded, level: .warning,
                "service \(name): \(reason)\(hint.map { "; \($0)" } ?? "")",
                ["service": name, "reason": reason, "hint": hint ?? ""])
        case .ok(let detail):
            guard degraded.withLock({ $0.remove(name) }) != nil else { return }
            log.record(
                .serviceRecovered, level: .notice, "service \(name) is well again: \(detail)",
                ["service": name])
        case .starting:
            break
        }
    }
}
