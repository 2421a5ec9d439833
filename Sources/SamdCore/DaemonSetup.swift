import CaddyConfig
import Dispatch
import FoundationEssentials
import Glibc
import HTTPClient
import IdleDetector
package import Logging
import NamespaceRelay
import PortWatcher
import ProcFS
import Supervision
package import Systemd

/// Facts about this run that never change.
package struct DaemonFacts: Sendable {
    package var pid: Int32
    /// RFC 3339.
    package var startedAt: String
    package var bootID: String
    package var hostName: String
}

/// Everything a daemon needs before its first service runs: configuration, lock, state files, sockets. Fails early and in words.
package struct DaemonSetup: Sendable {
    package let configuration: Configuration
    package let logger: Logger
    package let log: EventLog
    package let notifier = ServiceNotifier()
    package let facts: DaemonFacts
    package let listener: LocalAPIServer.Listener
    /// Where Caddy's access log arrives; nil when it is turned off.
    let accessLogListener: AccessLogService.Listener?
    private let configurationPath: String
    private let mayBeMissing: Bool
    private let users = SystemUsers()
    private let sightings: [PortSightings.Sighting]
    private let sightingsFile: StateFile<[PortSightings.Sighting]>
    private let credentialsFile: StateFile<WebCredentials>
    private let initialCredentials: WebCredentials
    private let initialCertificate: CertificatePair?
    private let overridesFile: StateFile<[PortOverrides.Entry]>
    private let initialOverrides: PortOverrides
    private let idleFile: StateFile<IdleMemory>
    private let activityFile: StateFile<InterruptionWatch.Record>
    private let rememberedIdle: (memory: IdleMemory?, activity: InterruptionWatch.Record?)
    private let holdsFile: StateFile<SavedHolds>
    private let initialHolds: SavedHolds?
    private let stalledService: String?
    /// Held for as long as the setup lives.
    private let lock: InstanceLock

    /// Prepares a daemon.
    ///
    /// - Parameters:
    ///   - path: the configuration file, nil for the default one.
    ///   - environment: the daemon's environment; `SAMD_FAULT_STALL` is read from it.
    /// - Throws: `ConfigurationError`, `InstanceLockError`, `SetupError`, `FileError` or `ActivationError`, each saying what to do.
    package init(configurationPath path: String?, environment: (String) -> String?) throws {
        configurationPath = path ?? Configuration.defaultPath
        mayBeMissing = path == nil
        configuration = try Configuration.load(path: configurationPath, mayBeMissing: mayBeMissing)
        logger = Self.makeLogger(configuration.daemon.logLevel)
        log = EventLog(logger: logger)
        let daemon = configuration.daemon
        do {
            try BoundedFile.createFolder(daemon.runtimeDirectory, mode: 0o755)
            try BoundedFile.createFolder(daemon.stateDirectory, mode: 0o700)
        } catch {
            throw SetupError(
                cause: error,
                hint:
                    "run samd as root (systemctl start samd), or set daemon.runtime_dir and daemon.state_dir to folders you own"
            )
        }
        lock = try InstanceLock(path: "\(daemon.runtimeDirectory)/samd.lock")
        let procfs = ProcFileSystem()
        facts = DaemonFacts(
            pid: getpid(), startedAt: Timestamp.text(.now), bootID: try procfs.bootID(),
            hostName: Self.hostName())
        listener =
            try ActivationSockets.takeUnixStreamListener().map { .inherited(descriptor: $0) }
            ?? .path(daemon.socket)
        accessLogListener = configuration.accessLogSocket.map { .path($0) }
        sightingsFile = StateFile(
            path: "\(daemon.stateDirectory)/ports.json", version: 1, bootID: facts.bootID)
        credentialsFile = StateFile(path: "\(daemon.stateDirectory)/web-credentials.json", version: 1)
        overridesFile = StateFile(path: "\(daemon.stateDirectory)/overrides.json", version: 1)
        initialOverrides = PortOverrides(try Self.load(overridesFile, log: log) ?? [])
        sightings = try Self.load(sightingsFile, log: log) ?? []
        holdsFile = StateFile(path: "\(daemon.stateDirectory)/holds.json", version: 1)
        initialHolds = try Self.load(holdsFile, log: log)
        initialCredentials = try Self.credentials(
            user: configuration.routes.user, in: credentialsFile, log: log)
        initialCertificate = try CertificateFiles.load(configuration)
        idleFile = StateFile(path: "\(daemon.stateDirectory)/idle.json", version: 1, bootID: facts.bootID)
        activityFile = StateFile(path: "\(daemon.stateDirectory)/activity.json", version: 1)
        rememberedIdle = (try Self.load(idleFile, log: log), try Self.load(activityFile, log: log))
        stalledService = environment("SAMD_FAULT_STALL")
        if let stalledService {
            logger.warning(
                "fault injection: service \(stalledService) will stop making progress (SAMD_FAULT_STALL)")
        }
    }

    var portWatchSettings: PortWatchSettings {
        var settings = PortWatchSettings()
        settings.events = configuration.ports.events == .polling ? .polling : .automatic
        settings.tracefsRoot = configuration.ports.tracefs
        settings.tracefsInstance = configuration.ports.tracefsInstance
        return settings
    }

    func caddyAdmin(_ http: HTTPClient) -> CaddyAdminClient {
        CaddyAdminClient(endpoint: configuration.caddy.admin, http: http)
    }

    func state(
        traffic: PortTraffic, submit: @escaping @Sendable (CaddyDocument) -> Void, relays: NamespaceRelays,
        onRelays: @escaping @Sendable ([RelayRequest], [String: Refusal]) -> Void, ender: ConnectionEnder,
        extras: @escaping @Sendable () -> CaddyExtras,
        onStatusLine: @escaping @Sendable (String) -> Void
    ) -> DaemonState {
        let (file, log) = (sightingsFile, log)
        // Flushing to disk may take seconds; no route waits for it.
        let queue = DispatchQueue(label: "samd.sightings")
        let sightings = PortSightings(
            remembered: sightings, now: { Date.now },
            save: { sightings in
                queue.async {
                    do { try file.save(sightings) } catch {
                        log.record(
                            .stateDiscarded, level: .warning,
                            "first sightings of ports could not be saved: \(error)",
                            ["path": file.path])
                    }
                }
            })
        let (overridesFile, relayQueue) = (overridesFile, DispatchQueue(label: "samd.relays"))
        let effects = DaemonEffects(
            submit: submit,
            setRelays: { requests in
                relayQueue.async { onRelays(requests, relays.apply(requests)) }
            },
            endConnections: { await ender.end($0) },
            saveOverrides: { entries in try queue.sync { try overridesFile.save(entries) } },
            saveOverridesSoon: { entries in
                queue.async {
                    do { try overridesFile.save(entries) } catch {
                        log.record(
                            .stateDiscarded, level: .warning,
                            "changed settings of ports could not be saved: \(error)",
                            ["path": overridesFile.path])
                    }
                }
            },
            loadCredentials: { user in try credentials(user: user) },
            renewPassword: { [credentialsFile] user in
                let new = try WebCredentials.generate(user: user)
                try credentialsFile.save(new)
                return new
            },
            caddyExtras: extras, showStatusLine: onStatusLine)
        return DaemonState(
            configuration: configuration, credentials: initialCredentials, certificate: initialCertificate,
            overrides: initialOverrides, hostName: facts.hostName, ephemeral: EphemeralPorts.range(),
            log: log, users: users,
            sightings: sightings, traffic: traffic, effects: effects)
    }

    /// What the idle monitor's thread works with.
    func idleParts(owners: OwnerCheck) -> IdleMonitor.Parts {
        IdleParts.make(configuration, owners: owners, users: users)
    }

    /// Idle detection's state; nil where it is turned off.
    func idleState(
        sources: IdleSources, vm: String, notify: @escaping @Sendable (NotificationRequest) -> Void,
        showSummary: @escaping @Sendable (String) -> Void
    ) -> IdleState? {
        guard configuration.idle.enabled else { return nil }
        var effects = IdleEffects()
        (effects.notify, effects.showSummary) = (notify, showSummary)
        // Flushing to disk may take seconds; no verdict waits for it. Before the process ends all is written.
        let queue = DispatchQueue(label: "samd.idle-memory")
        let (log, idleFile, activityFile) = (log, idleFile, activityFile)
        effects.save = { memory in
            queue.async { Self.keep(memory, in: idleFile, "what idle detection remembers", log: log) }
        }
        effects.saveActivity = { record in
            queue.async { Self.keep(record, in: activityFile, "what works on this machine", log: log) }
        }
        effects.flush = { queue.sync {} }
        return IdleState(
            settings: configuration.idle.policy, bootGrace: configuration.idle.bootGrace,
            identity: RecordingIdentity(vm: vm, bootID: facts.bootID), memory: rememberedIdle.memory,
            lastActivity: rememberedIdle.activity, log: log, sources: sources,
            trace: IdleTrace(path: configuration.idleTrace), effects: effects)
    }

    private static func keep<Value>(
        _ value: Value, in file: StateFile<Value>, _ what: String, log: EventLog
    ) {
        do { try file.save(value) } catch {
            log.record(
                .stateDiscarded, level: .warning, "\(what) could not be saved: \(error)", ["path": file.path])
        }
    }

    /// - Parameter onChange: told of every change of what holds the machine; returns quickly.
    func holds(onChange: @escaping @Sendable ([Signal]) -> Void) -> HoldRoutes {
        let finder = HolderFinder(procfs: ProcFileSystem(), users: users)
        let keeper = HoldKeeper(
            saved: initialHolds, cap: configuration.idle.policy.holdCap, bootID: facts.bootID, log: log,
            effects: HoldEffects(
                isRunning: { finder.isRunning($0) }, save: { [holdsFile] in try holdsFile.save($0) },
                onChange: onChange))
        return HoldRoutes(keeper: keeper, finder: finder)
    }

    func notifications(monitor: ServiceMonitor, http: HTTPClient, state: DaemonState) -> Notifier {
        let runner = CommandRunner()
        return Notifier(
            monitor: monitor, settings: configuration.notify, hostName: facts.hostName, log: log,
            logger: logger,
            effects: NotifierEffects(
                send: { (request) async throws(HTTPClientError) in
                    try await http.stream(request).head.status
                },
                run: { await runner.run($0, input: $1) }, vm: { await state.vm() }))
    }

    func authorization(_ state: DaemonState) async -> PeerAuthorization {
        let owners = await state.ownerCheck()
        let users = users
        return PeerAuthorization(
            isWorkspaceOwner: owners,
            isInGroup: { uid, gid in users.isMember(uid: uid, gid: gid, of: "samd") })
    }

    func withInjectedFault(_ service: any SupervisedService) -> any SupervisedService {
        service.monitor.name == stalledService ? StalledService(service) : service
    }

    /// Reads the configuration again; nil (and an event) when it is refused and the old one stays.
    func reload(over old: Configuration) -> Configuration? {
        do {
            var new = try Configuration.load(path: configurationPath, mayBeMissing: mayBeMissing)
            let waiting = ConfigurationSchema.keysThatNeedRestart(from: configuration, to: new)
            let note = waiting.isEmpty ? "" : "; at the next start: \(waiting.joined(separator: ", "))"
            log.record(
                .configurationReloaded, level: .notice, "the configuration was read again\(note)",
                ["path": configurationPath, "waiting": waiting.joined(separator: " ")])
            ConfigurationSchema.keepWhatNeedsRestart(of: configuration, in: &new)
            return new
        } catch {
            log.record(
                .configurationRefused, level: .error,
                "the configuration is wrong and the old one stays:\n\(error)",
                ["path": configurationPath])
            return nil
        }
    }

    func credentials(user: String) throws -> WebCredentials {
        try Self.credentials(user: user, in: credentialsFile, log: log)
    }

    /// The saved password, under the user name that is asked for now, or a new one where there is none.
    private static func credentials(
        user: String, in file: StateFile<WebCredentials>, log: EventLog
    ) throws -> WebCredentials {
        let saved = try load(file, log: log)
        if let saved, saved.user == user { return saved }
        let fresh =
            try saved.map { WebCredentials(user: user, password: $0.password, passwordHash: $0.passwordHash) }
            ?? WebCredentials.generate(user: user)
        try file.save(fresh)
        return fresh
    }

    private static func load<Value>(_ file: StateFile<Value>, log: EventLog) throws -> Value? {
        switch try file.load() {
        case .value(let value): return value
        case .none: return nil
        case .discarded(let reason, let movedTo):
            log.record(
                .stateDiscarded, level: .warning,
                "\(file.path) was not used: \(reason); it stands at \(movedTo) now, and samd begins without it",
                ["path": file.path, "moved_to": movedTo, "reason": reason])
            return nil
        }
    }

    private static func makeLogger(_ level: LogLevel) -> Logger {
        let level = Logger.Level(rawValue: level.rawValue) ?? .info
        return Logger(label: "samd") { _ in
            JournalLogHandler.isUnderJournal
                ? JournalLogHandler(identifier: "samd", level: level) as any LogHandler
                : ConsoleLogHandler(level: level)
        }
    }

    private static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "" }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// A step of the start that failed, with what to do about it.
package struct SetupError: Error, CustomStringConvertible {
    let cause: any Error
    let hint: String
    package var description: String { "\(cause); \(hint)" }
}

/// The kernel's range of ports for outgoing connections.
enum EphemeralPorts {
    /// Reads net.ipv4.ip_local_port_range; the kernel's own default where that cannot be read.
    static func range(path: String = "/proc/sys/net/ipv4/ip_local_port_range") -> ClosedRange<UInt16> {
        let text = (try? BoundedFile.read(path, limit: 64)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let bounds = text.split { $0 == "\t" || $0 == " " || $0 == "\n" }.compactMap { UInt16($0) }
        guard bounds.count == 2, bounds[0] <= bounds[1] else { return 32768...60999 }
        return bounds[0]...bounds[1]
    }
}
