package import CaddyConfig
import FoundationEssentials
import Logging
package import PortWatcher
import ProcFS
import Supervision

/// What is true now: the one state that the local API, the status line and the events read.
///
/// Data flows in as whole snapshots (all ports, one outcome), newest wins, and flows out as one Caddy document.
package actor DaemonState {
    /// What Caddy last did with our routes.
    private enum CaddyCondition: Equatable { case unknown, applied, failing(String) }

    private let log: EventLog
    private let users: any UserDatabase
    private let submit: @Sendable (CaddyDocument) -> Void
    private let onStatusLine: @Sendable (String) -> Void
    private let sightings: PortSightings
    private let hostName: String
    private let ephemeral: ClosedRange<UInt16>

    private var configuration: Configuration
    private var credentials: WebCredentials
    private var listening: [ListeningPort] = []
    private var hasScanned = false
    private var awaitingFirstScan: [CheckedContinuation<Void, Never>] = []
    private var table = RoutingTable()
    /// What Caddy has now, as far as is known.
    private var applied: [Route] = []
    /// What followers of the events were told to be published.
    private var announced: [Route] = []
    private var caddy = CaddyCondition.unknown
    private var wakeUp: WakeUpSource?
    private var lastStatusLine = ""

    /// Creates the state of a daemon that has seen nothing yet.
    package init(
        configuration: Configuration, credentials: WebCredentials, hostName: String,
        ephemeral: ClosedRange<UInt16>,
        log: EventLog, users: any UserDatabase, sightings: PortSightings,
        submit: @escaping @Sendable (CaddyDocument) -> Void,
        onStatusLine: @escaping @Sendable (String) -> Void
    ) {
        self.configuration = configuration
        self.credentials = credentials
        self.hostName = hostName
        self.ephemeral = ephemeral
        self.log = log
        self.users = users
        self.sightings = sightings
        self.submit = submit
        self.onStatusLine = onStatusLine
    }

    // MARK: What flows in

    /// All listening ports, as they are now.
    package func portsChanged(_ ports: [ListeningPort]) {
        listening = ports
        hasScanned = true
        route()
        sightings.keep(only: ports)
        endWait()
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
            announce(document.routes)
        case .repaired(let document, _):
            becameReachable()
            log.record(
                .caddyRepaired, level: .notice,
                "somebody else replaced Caddy's configuration; samd's routes are back",
                ["routes": "\(document.routes.count)"])
            announce(document.routes)
        case .unreachable(let error):
            fail(.caddyUnreachable, "Caddy does not answer on \(configuration.caddy.admin)", error)
        case .refused(let error):
            fail(.caddyRefused, "Caddy does not take samd's routes", error)
        }
        publishStatusLine()
    }

    /// A new configuration was accepted.
    package func reconfigure(_ new: Configuration, credentials: WebCredentials) {
        configuration = new
        self.credentials = credentials
        route()
    }

    // MARK: What flows out

    /// Returns once ports were seen for the first time, at the latest after `limit`: a list from before would be empty and wrong.
    package func firstScan(within limit: Duration) async {
        if hasScanned { return }
        let alarm = Task {
            try await Task.sleep(for: limit, clock: .suspending)
            endWait()
        }
        await withCheckedContinuation { awaitingFirstScan.append($0) }
        alarm.cancel()
    }

    /// Whether ports were seen at all.
    package func isStarting() -> Bool { !hasScanned }

    /// For `GET /v1/ports`.
    package func portList() -> PortList {
        let current = currentIDs()
        let owners = policy().owners
        return PortList(ports: table.ports.map { report($0, current: current, owners: owners) })
    }

    /// Counts for `GET /v1/status`.
    package func counts() -> StatusReport.Counts {
        let published = currentIDs().count
        let refused = table.ports.count { if case .refused = $0.decision { true } else { false } }
        return StatusReport.Counts(
            published: published, pending: table.routes.count - published, refused: refused)
    }

    /// How ports are noticed, for `GET /v1/status`.
    package func wakeUpReport() -> StatusReport.WakeUp {
        switch wakeUp {
        case nil: StatusReport.WakeUp(source: "starting", reason: nil)
        case .kernelEvents: StatusReport.WakeUp(source: "kernel events", reason: nil)
        case .polling(let reason): StatusReport.WakeUp(source: "polling", reason: reason)
        }
    }

    /// The web password, for its owner.
    package func password() -> PasswordReport {
        PasswordReport(user: credentials.user, password: credentials.password)
    }

    /// This machine's name in URLs.
    package func vm() -> String { policy().vm }

    /// Tells whether a user is a workspace owner: their ports are published, and they may change things.
    package func ownerCheck() -> @Sendable (UInt32) -> Bool {
        let owners = policy().owners
        return { owners.contains($0) }
    }

    /// The line that `systemctl status` shows.
    package func statusLine() -> String {
        let counts = counts()
        var parts = ["\(counts.published) published, \(counts.refused) refused"]
        if counts.pending > 0 { parts.append("\(counts.pending) waiting for Caddy") }
        switch wakeUp {
        case nil: break
        case .kernelEvents: parts.append("kernel events")
        case .polling: parts.append("polling")
        }
        if case .failing(let reason) = caddy { parts.append(reason) }
        return parts.joined(separator: "; ")
    }

    // MARK: Inside

    private func endWait() {
        for continuation in awaitingFirstScan { continuation.resume() }
        awaitingFirstScan = []
    }

    private func policy() -> RoutingPolicy {
        RoutingPolicy(configuration, hostName: hostName, ephemeral: ephemeral, userID: { users.uid(of: $0) })
    }

    /// Decides every port anew and hands the routes over. Before the first scan nothing is known, so nothing is withdrawn.
    private func route() {
        guard hasScanned else { return }
        let known = Set(table.ports.map(\.listening.identity))
        table = Routing.table(for: listening, policy: policy())
        submit(
            CaddyDocument(
                listen: configuration.caddy.listen.map(\.description), account: credentials.account,
                routes: table.routes))
        for port in table.ports where !known.contains(port.listening.identity) {
            announceRefusal(port)
        }
        publishStatusLine()
    }

    private func announceRefusal(_ port: RoutedPort) {
        // A system daemon's port is nobody's surprise; one of the workspace's own is.
        guard case .refused(let refusal) = port.decision, refusal.isSurprising,
            policy().owners.contains(port.listening.identity.ownerUID)
        else { return }
        let number = port.listening.identity.port
        log.record(
            .portRefused, level: .notice, "port \(number) is not published: \(refusal.reason)",
            facts(port).merging(["reason": refusal.reason, "hint": refusal.hint ?? ""]) { old, _ in old })
    }

    private func announce(_ routes: [Route]) {
        let before = Dictionary(announced.map { ($0.id, $0) }, uniquingKeysWith: { old, _ in old })
        let after = Dictionary(routes.map { ($0.id, $0) }, uniquingKeysWith: { old, _ in old })
        applied = routes
        announced = routes
        for route in before.values.sorted(by: { $0.id < $1.id }) where after[route.id] != route {
            log.record(
                .portWithdrawn, "\(route.hosts.joined(separator: ", ")) is withdrawn",
                ["port": String(route.id.dropFirst()), "host": route.hosts.first ?? ""])
        }
        for port in table.ports {
            guard case .published(let host, let url) = port.decision else { continue }
            let id = "p\(port.listening.identity.port)"
            guard let route = after[id], route.hosts == [host], before[id] != route else { continue }
            log.record(
                .portPublished, "port \(port.listening.identity.port) is published at \(url)",
                facts(port).merging(["host": host, "url": url]) { old, _ in old })
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
    }

    /// The wanted routes that Caddy has exactly so; one per published port.
    private func currentIDs() -> Set<String> {
        let wanted = Dictionary(table.routes.map { ($0.id, $0) }, uniquingKeysWith: { old, _ in old })
        return Set(applied.filter { wanted[$0.id] == $0 }.map(\.id))
    }

    private func report(
        _ port: RoutedPort, current: Set<String>, owners: RoutingPolicy.Owners
    ) -> PortReport {
        let identity = port.listening.identity
        // Command lines are everybody's to see in /proc; the folder of another user's process is not.
        let showsFolder = owners.contains(identity.ownerUID)
        var report = PortReport(
            port: identity.port, address: "\(identity.address)", state: "refused",
            owner: PortReport.Owner(uid: identity.ownerUID, user: users.name(of: identity.ownerUID)),
            process: port.listening.process.map {
                PortReport.Process(
                    pid: $0.pid, command: Self.commandText($0), cwd: showsFolder ? $0.cwd : nil)
            },
            since: sightings.since(port.listening))
        switch port.decision {
        case .published(let host, let url):
            report.state = current.contains("p\(identity.port)") ? "published" : "pending"
            (report.host, report.url, report.auth) = (host, url, "basic")
            if report.state == "pending", case .failing(let reason) = caddy { report.reason = reason }
        case .covered(let address):
            report.state = "covered"
            report.reason = "the URL of port \(identity.port) leads to the listener on \(address)"
        case .refused(let refusal):
            (report.reason, report.hint) = (refusal.reason, refusal.hint)
        }
        return report
    }

    private func facts(_ port: RoutedPort) -> [String: String] {
        let identity = port.listening.identity
        var facts = [
            "port": "\(identity.port)", "address": "\(identity.address)", "uid": "\(identity.ownerUID)",
        ]
        facts["user"] = users.name(of: identity.ownerUID)
        if let process = port.listening.process {
            facts["pid"] = "\(process.pid)"
            facts["command"] = process.executable
        }
        return facts
    }

    /// A command line as people read it; bounded. Arguments may hold secrets, so this goes to the socket, never to the journal.
    private static func commandText(_ process: OwnerProcess) -> String {
        let text = process.command.isEmpty ? process.executable : process.command.joined(separator: " ")
        return text.count > 200 ? text.prefix(199) + "…" : text
    }

    private func publishStatusLine() {
        let line = statusLine()
        guard line != lastStatusLine else { return }
        lastStatusLine = line
        onStatusLine(line)
    }
}
