package import CaddyConfig
import Logging
package import PortWatcher
import ProcFS

/// What is true now: the one state that the local API, the status line and the events read.
///
/// Data flows in as whole snapshots (all ports, one outcome), newest wins, and flows out as one Caddy document.
package actor DaemonState {
    /// What Caddy last did with our routes.
    enum CaddyCondition: Equatable { case unknown, applied, failing(String) }

    let log: EventLog
    let users: any UserDatabase
    let traffic: PortTraffic
    let sightings: PortSightings
    private let effects: DaemonEffects
    private let hostName: String
    private let ephemeral: ClosedRange<UInt16>

    private(set) var configuration: Configuration
    private(set) var credentials: WebCredentials
    private var certificate: CertificatePair?
    private(set) var overrides: PortOverrides
    private var listening: [ListeningPort] = []
    private(set) var hasScanned = false
    private var awaitingFirstScan: [CheckedContinuation<Void, Never>] = []
    private(set) var table = RoutingTable()
    /// What Caddy was last asked for.
    private var submitted: CaddyDocument?
    /// What Caddy last took, also while it is away.
    private var served: CaddyDocument?
    private var awaitingCaddy: [Int: CheckedContinuation<Void, Never>] = [:]
    private var nextWaiter = 0
    /// The newest ending of connections, until those who came in before the change are gone.
    private var ending: (number: Int, task: Task<Void, Never>)?
    private var endings = 0
    /// What the relays were last asked to be, and what became of each by name: nil for one that listens.
    private var requestedRelays: [RelayRequest] = []
    private var relayOutcomes: [String: Refusal?] = [:]
    private var relayRetry: (task: Task<Void, any Error>, wait: Duration)?
    /// What Caddy has now, as far as is known.
    private(set) var applied: [Route] = []
    /// What followers of the events were told to be published.
    private var announced: [Route] = []
    private(set) var caddy = CaddyCondition.unknown
    private(set) var wakeUp: WakeUpSource?
    private var lastExtras = CaddyExtras()
    private var lastStatusLine = ""
    /// Whether the machine is used, in a few words; empty where samd does not look.
    private(set) var idleSummary = ""

    /// Creates the state of a daemon that has seen nothing yet.
    package init(
        configuration: Configuration, credentials: WebCredentials, certificate: CertificatePair? = nil,
        overrides: PortOverrides = PortOverrides(), hostName: String, ephemeral: ClosedRange<UInt16>,
        log: EventLog, users: any UserDatabase,
        sightings: PortSightings, traffic: PortTraffic = PortTraffic(), effects: DaemonEffects
    ) {
        self.configuration = configuration
        self.credentials = credentials
        self.certificate = certificate
        self.overrides = overrides
        self.hostName = hostName
        self.ephemeral = ephemeral
        self.log = log
        self.users = users
        self.sightings = sightings
        self.traffic = traffic
        self.effects = effects
    }

    // MARK: What flows in

    /// All listening ports, as they are now.
    package func portsChanged(_ ports: [ListeningPort]) {
        listening = ports
        hasScanned = true
        let dropped = overrides.dropTakenOver(by: ports)
        sightings.keep(only: ports)
        route()
        // After the route is on its way: flushing to disk may take seconds.
        tell(dropped)
        for continuation in awaitingFirstScan { continuation.resume() }
        awaitingFirstScan = []
    }

    /// How changes of ports are noticed from now on.
    package func wakeUpSourceChanged(_ source: WakeUpSource) {
        guard wakeUp != source else { return }
        wakeUp = source
        switch source {
        case .kernelEvents:
            log.record(.wakeUpSource, "new ports are noticed by kernel events", ["source": "kernel events"])
        case .polling(let reason):
            log.record(
                .wakeUpSource, level: .notice, "new ports are noticed by polling: \(reason)",
                ["source": "polling", "reason": reason])
        }
        publishStatusLine()
    }

    /// What Caddy did with the newest document.
    package func caddyReported(_ outcome: ReconcileOutcome) {
        switch outcome {
        case .applied(let document, _, _):
            becameReachable()
            tellExtras()
            serve(document)
        case .repaired(let document, _):
            becameReachable()
            log.record(
                .caddyRepaired, level: .notice,
                "somebody else replaced Caddy's configuration; samd's routes are back",
                ["routes": "\(document.routes.count)"])
            serve(document)
        case .unreachable(let error):
            fail(.caddyUnreachable, "Caddy does not answer on \(configuration.caddy.admin)", error)
        case .refused(let error):
            fail(.caddyRefused, "Caddy does not take samd's routes", error)
        }
        publishStatusLine()
    }

    /// A new configuration was accepted.
    package func reconfigure(_ new: Configuration, certificate: CertificatePair? = nil) throws {
        // Read here, so that a password that is renewed at the same time is not undone.
        credentials = try effects.loadCredentials(new.routes.user)
        configuration = new
        self.certificate = certificate
        route()
    }

    /// What became of the relays that were asked for; by name, why one cannot be had.
    package func relaysReported(_ requests: [RelayRequest], failures: [String: Refusal]) {
        let outcomes = Dictionary(
            requests.map { ($0.name, failures[$0.name]) }, uniquingKeysWith: { first, _ in first })
        if outcomes != relayOutcomes {
            relayOutcomes = outcomes
            route()
        }
        relayRetry?.task.cancel()
        guard !failures.isEmpty else {
            relayRetry = nil
            return
        }
        let wait = min((relayRetry?.wait ?? .seconds(1)) * 2, Self.longestRelayRetry)
        let task = Task {
            try await Task.sleep(for: wait, clock: .suspending)
            effects.setRelays(requestedRelays)
        }
        relayRetry = (task, wait)
    }

    /// What the status line says about the machine's use from now on.
    package func idleChanged(_ summary: String) {
        idleSummary = summary
        publishStatusLine()
    }

    // MARK: What people decide

    /// Changes what is decided about the port of a name, and returns it once Caddy has the change and whom it shuts out is
    /// gone, at the latest after 3 s.
    ///
    /// - Parameter isByRoot: whether root asks, who may publish what others may not.
    package func change(
        _ name: String, to change: PortChange, isByRoot: Bool
    ) async throws(ProblemDetails) -> PortReport {
        let port = try port(named: name)
        let policy = policy()
        var override = change.isReset ? PortOverride() : overrides[port.listening] ?? PortOverride()
        if let auth = change.auth { override.auth = auth }
        if let published = change.published {
            override.published = published
            override.isByRoot = isByRoot
        }
        if override.auth == .public, !policy.allowPublic { throw PortProblems.publicIsForbidden(name) }
        if !isByRoot, let old = overrides[port.listening], old.isByRoot {
            // What root alone may publish root alone may open; what root withdrew stays so.
            let undoes = old.published == false && (change.published == true || change.isReset)
            let opens = old.published == true && change.auth == .public
            if undoes || opens { throw PortProblems.setByRoot(name) }
        }
        if change.published == true,
            let refusal = Refusals.refusal(
                of: port.listening, name: name, override: override, policy: policy)
        {
            throw PortProblems.refused(name, refusal)
        }
        var changed = overrides
        guard changed.set(override, for: port.listening) else { throw PortProblems.tooMany }
        do { try effects.saveOverrides(changed.entries) } catch { throw PortProblems.notSaved(error) }
        overrides = changed
        route()
        await servedAll(within: Self.caddyPatience)
        let identity = port.listening.identity
        guard let now = table.ports.first(where: { $0.listening.identity == identity }) else {
            throw PortProblems.gone(name)
        }
        return reports([now])[0]
    }

    /// Makes a new web password, and returns it once Caddy asks for it and who had the old one is gone, at the latest after
    /// 3 s.
    package func renewPassword() async throws(ProblemDetails) -> PasswordReport {
        do {
            credentials = try effects.renewPassword(configuration.routes.user)
        } catch {
            throw PortProblems.notSaved(error)
        }
        log.record(
            .passwordRenewed, level: .notice,
            "the web password was renewed; connections that came in with the old one end",
            ["user": credentials.user])
        route()
        await servedAll(within: Self.caddyPatience)
        return password()
    }

    private static let longestRelayRetry: Duration = .seconds(60)
    private static let caddyPatience: Duration = .seconds(3)

    private func port(named name: String) throws(ProblemDetails) -> RoutedPort {
        let matches = table.ports.filter { $0.name == name || $0.isCalled(name) }
        let best = matches.min { $0.rank(for: name) < $1.rank(for: name) }
        guard let best else { throw PortProblems.unknown(name) }
        return best
    }

    private func tell(_ dropped: [OverrideKey]) {
        guard !dropped.isEmpty else { return }
        for key in dropped {
            log.record(
                .overrideDropped, level: .notice,
                "what was set for port \(key.port) of uid \(key.ownerUID) is gone: another user listens there now",
                ["port": "\(key.port)", "uid": "\(key.ownerUID)"])
        }
        effects.saveOverridesSoon(overrides.entries)
    }

    // MARK: Waiting

    /// Returns once ports were seen for the first time, at the latest after `limit`: a list from before would be empty and wrong.
    package func firstScan(within limit: Duration) async {
        if hasScanned { return }
        let alarm = Task {
            try await Task.sleep(for: limit, clock: .suspending)
            for continuation in awaitingFirstScan { continuation.resume() }
            awaitingFirstScan = []
        }
        await withCheckedContinuation { awaitingFirstScan.append($0) }
        alarm.cancel()
    }

    /// Returns once Caddy took what it was last asked for, and who came in before is put out, or Caddy failed; at the latest
    /// after `limit`.
    private func servedAll(within limit: Duration) async {
        guard submitted != nil, served != submitted || ending != nil else { return }
        let waiter = nextWaiter
        nextWaiter += 1
        let alarm = Task {
            try await Task.sleep(for: limit, clock: .suspending)
            awaitingCaddy.removeValue(forKey: waiter)?.resume()
        }
        await withCheckedContinuation { continuation in
            awaitingCaddy[waiter] = continuation
            if served == submitted { endWaitWhenPutOut() }
        }
        alarm.cancel()
    }

    /// A new connection that came before would be ended with the old ones.
    private func endWaitWhenPutOut() {
        guard let ending else { return endWaitForCaddy() }
        let waiters = Array(awaitingCaddy.keys)
        Task {
            await ending.task.value
            for waiter in waiters { awaitingCaddy.removeValue(forKey: waiter)?.resume() }
        }
    }

    private func endWaitForCaddy() {
        for continuation in awaitingCaddy.values { continuation.resume() }
        awaitingCaddy = [:]
    }

    // MARK: Inside

    func policy() -> RoutingPolicy {
        RoutingPolicy(configuration, hostName: hostName, ephemeral: ephemeral, userID: { users.uid(of: $0) })
    }

    /// Decides every port anew and hands the routes over. Before the first scan nothing is known, so nothing is withdrawn.
    private func route() {
        guard hasScanned else { return }
        let known = Set(table.ports.map(\.listening.identity))
        let policy = policy()
        table = Routing.table(
            for: listening, policy: policy, overrides: overrides, since: { sightings.since($0) })
        if table.relays != requestedRelays {
            requestedRelays = table.relays
            effects.setRelays(table.relays)
        }
        // A relay takes a moment, or longer; the other ports' routes do not wait for it.
        for relay in table.relays {
            switch relayOutcomes[relay.name] {
            case nil: table.postpone(relay)
            case .some(nil): break
            case .some(let refusal?): table.refuse(relay, refusal)
            }
        }
        traffic.follow(table.routes)
        let document = CaddyDocument(
            listen: configuration.caddy.listen.map(\.description), account: credentials.account,
            routes: table.routes, tls: tls(policy), accessLog: configuration.accessLogSocket,
            trustedProxies: configuration.caddy.behindProxy ? configuration.caddy.trustedProxies : [])
        submitted = document
        effects.submit(document)
        for port in table.ports where !known.contains(port.listening.identity) {
            announceRefusal(port, owners: policy.owners)
        }
        publishStatusLine()
    }

    private func tls(_ policy: RoutingPolicy) -> CaddyTLS {
        switch configuration.caddy.tls {
        case .off: .off
        case .internal: .internal(subjects: policy.certificateSubjects(for: table.routes.flatMap(\.hosts)))
        // Not clear text, whatever happens: without a pair Caddy refuses, and says so.
        case .files: .certificate(certificate ?? CertificatePair(certificate: "", key: ""))
        }
    }

    /// Caddy has a document: who came in under the one before and may not be there any more is put out.
    private func serve(_ document: CaddyDocument) {
        let revoked = served.map { Revocations.from($0, to: document) } ?? []
        served = document
        if !revoked.isEmpty { endConnections(of: revoked) }
        announce(document.routes)
        if served == submitted { endWaitWhenPutOut() }
    }

    /// A request that Caddy had let in under the old document may connect a moment after the change: hence the second round.
    private static let stragglersComeWithin: Duration = .milliseconds(200)
    /// And a third one, for routes that let nobody in by then: what leads there again has connections that are to stay.
    private static let lastRoundAfter: Duration = .milliseconds(800)

    private func endConnections(of routes: [Route]) {
        endings += 1
        let number = endings
        let task = Task {
            await effects.endConnections(routes)
            await effects.pause(Self.stragglersComeWithin)
            await effects.endConnections(routes)
            if ending?.number == number { ending = nil }
        }
        ending = (number, task)
        Task {
            await task.value
            await effects.pause(Self.lastRoundAfter)
            let upstreams = Set((served?.routes ?? []).map(\.upstream))
            let closed = routes.filter { !upstreams.contains($0.upstream) }
            if !closed.isEmpty { await effects.endConnections(closed) }
        }
    }

    private func announceRefusal(_ port: RoutedPort, owners: RoutingPolicy.Owners) {
        // A system daemon's port is nobody's surprise; one of the workspace's own is.
        guard case .refused(let refusal) = port.decision, refusal.isSurprising,
            owners.contains(port.listening.identity.ownerUID)
        else { return }
        log.record(
            .portRefused, level: .notice, "port \(port.name) is not published: \(refusal.reason)",
            facts(port).merging(["reason": refusal.reason, "hint": refusal.hint ?? ""]) { old, _ in old })
    }

    private func announce(_ routes: [Route]) {
        let before = Dictionary(announced.map { ($0.id, $0) }, uniquingKeysWith: { old, _ in old })
        let after = Dictionary(routes.map { ($0.id, $0) }, uniquingKeysWith: { old, _ in old })
        applied = routes
        announced = routes
        for route in before.values.sorted(by: { $0.id < $1.id }) where !route.isKept(in: after) {
            log.record(
                .portWithdrawn, "\(route.hosts.joined(separator: ", ")) is withdrawn",
                [
                    "port": String(route.name.prefix { $0 != "-" }), "name": route.name,
                    "host": route.hosts.first ?? "",
                ])
        }
        for port in table.ports {
            guard case .published(let hosts, let access) = port.decision,
                let route = after["p\(port.name)"], route.hosts == hosts
            else { continue }
            let url = policy().url(for: hosts.first ?? "")
            let facts = facts(port).merging([
                "host": hosts.first ?? "", "url": url, "auth": access.rawValue,
            ]) { old, _ in old }
            if before[route.id]?.isKept(in: after) != true {
                let warning = access == .public ? ", without a password" : ""
                log.record(.portPublished, "port \(port.name) is published at \(url)\(warning)", facts)
            } else if before[route.id]?.isPublic != route.isPublic {
                let sentence =
                    access == .public ? "is open to everybody now" : "asks for the web password again"
                log.record(.portAccessChanged, level: .notice, "port \(port.name) \(sentence)", facts)
            }
        }
    }

    private func becameReachable() {
        if case .failing = caddy {
            log.record(.caddyReachable, "Caddy answers again and has samd's routes")
        }
        caddy = .applied
    }

    private func fail(_ kind: EventKind, _ summary: String, _ error: CaddyError) {
        if caddy != .failing(summary) {
            log.record(
                kind, level: .warning, "\(summary): \(error)",
                ["reason": error.reason, "hint": error.hint ?? ""])
        }
        caddy = .failing(summary)
        if kind == .caddyUnreachable { applied = [] }
        endWaitForCaddy()
    }

    /// Caddy has the routes, and not everything else that was wanted.
    private func tellExtras() {
        let extras = effects.caddyExtras()
        if let problem = extras.tls, problem != lastExtras.tls {
            log.record(
                .caddyRefused, level: .warning,
                "Caddy does not take the certificate and serves the one before: \(problem)",
                [
                    "reason": problem,
                    "hint": "mend caddy.certificate and caddy.key, then: systemctl reload samd",
                ])
        }
        lastExtras = extras
    }

    private func publishStatusLine() {
        let line = statusLine()
        guard line != lastStatusLine else { return }
        lastStatusLine = line
        effects.showStatusLine(line)
    }
}

extension Route {
    /// `3000` or `3000-dc1`.
    var name: String { String(id.dropFirst()) }

    /// Whether those who knew the route would not notice a difference but for the password.
    fileprivate func isKept(in routes: [String: Route]) -> Bool {
        guard let route = routes[id] else { return false }
        return route.hosts == hosts && route.listener == listener && route.upstream == upstream
    }
}

extension RoutedPort {
    /// Whether a name means this port, too: the number alone, or the long form of a container's.
    fileprivate func isCalled(_ other: String) -> Bool {
        if other == "\(listening.identity.port)" { return true }
        guard listening.entrance != nil, let container = listening.container else { return false }
        return other == "\(listening.identity.port)-\(PortName.label(of: container))"
    }

    /// Which of several ports of one name is meant: the lowest.
    fileprivate func rank(for other: String) -> Int {
        switch decision {
        case .published: name == other ? 0 : 2
        case .covered: 3
        case .refused: name == other ? 1 : 4
        }
    }
}
