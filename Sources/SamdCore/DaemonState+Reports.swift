import CaddyConfig
import Containers
import PortWatcher
import ProcFS

/// What the state tells.
extension DaemonState {
    /// Whether ports were seen at all.
    package func isStarting() -> Bool { !hasScanned }

    /// For `GET /v1/ports`.
    package func portList() -> PortList { PortList(ports: reports(table.ports)) }

    /// Counts for `GET /v1/status`.
    package func counts() -> StatusReport.Counts {
        let published = currentIDs().count
        let refused = table.ports.count { if case .refused = $0.decision { true } else { false } }
        return StatusReport.Counts(
            published: published, pending: table.ports.count(where: \.isPublished) - published,
            refused: refused)
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
        if !idleSummary.isEmpty { parts.append(idleSummary) }
        if case .failing(let reason) = caddy { parts.append(reason) }
        return parts.joined(separator: "; ")
    }

    /// The wanted routes that Caddy has exactly so; one per published port.
    private func currentIDs() -> Set<String> {
        let wanted = Dictionary(table.routes.map { ($0.id, $0) }, uniquingKeysWith: { old, _ in old })
        return Set(applied.filter { wanted[$0.id] == $0 }.map(\.id))
    }

    func reports(_ ports: [RoutedPort]) -> [PortReport] {
        let current = currentIDs()
        let policy = policy()
        let counters = traffic.snapshot()
        return ports.map { report($0, current: current, policy: policy, counters: counters[$0.name]) }
    }

    private func report(
        _ port: RoutedPort, current: Set<String>, policy: RoutingPolicy, counters: PortTraffic.Counters?
    ) -> PortReport {
        let listening = port.listening
        let identity = listening.identity
        // Command lines are everybody's to see in /proc; the folder of another user's process is not.
        let showsFolder = policy.owners.contains(identity.ownerUID)
        var report = PortReport(
            port: identity.port, name: port.name, address: "\(identity.address)", state: "refused",
            owner: PortReport.Owner(uid: identity.ownerUID, user: users.name(of: identity.ownerUID)),
            process: listening.process.map {
                PortReport.Process(
                    pid: $0.pid, command: Self.commandText($0), cwd: showsFolder ? $0.cwd : nil)
            },
            since: sightings.since(listening))
        report.container = listening.container.map {
            PortReport.Container(
                name: $0.name, runtime: $0.runtime.rawValue, id: $0.id.isEmpty ? nil : $0.id,
                isForwarded: listening.isForwarder)
        }
        report.override = overrides[listening].map {
            PortReport.Override(auth: $0.auth?.rawValue, published: $0.published)
        }
        switch port.decision {
        case .published(let hosts, let access):
            report.state = current.contains("p\(port.name)") ? "published" : "pending"
            report.host = hosts.first
            report.url = hosts.first.map { policy.url(for: $0) }
            let others = hosts.dropFirst().map { policy.url(for: $0) }
            report.aliases = others.isEmpty ? nil : others
            report.auth = access.rawValue
            report.requests = counters?.total ?? 0
            if report.state == "pending", case .failing(let reason) = caddy { report.reason = reason }
        case .covered(let address):
            report.state = "covered"
            report.reason = "the URL of port \(port.name) leads to the listener on \(address)"
        case .refused(let refusal):
            (report.reason, report.hint, report.command) = (refusal.reason, refusal.hint, refusal.command)
        }
        return report
    }

    func facts(_ port: RoutedPort) -> [String: String] {
        let identity = port.listening.identity
        var facts = [
            "port": "\(identity.port)", "name": port.name, "address": "\(identity.address)",
            "uid": "\(identity.ownerUID)",
        ]
        facts["user"] = users.name(of: identity.ownerUID)
        facts["container"] = port.listening.container?.name
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
}
