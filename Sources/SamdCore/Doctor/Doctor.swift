import CaddyConfig
import Glibc
import HTTPClient
import ProcFS

/// One thing that was looked at.
package struct DoctorFinding: Codable, Sendable, Equatable {
    /// `ok`, `warning` (works less well) or `error` (does not work).
    package enum Level: String, Codable, Sendable { case ok, warning, error }
    package var check: String
    package var level: Level
    package var detail: String
    package var hint: String?
}

/// Looks at everything that samd needs on this machine, without changing any of it.
package struct Doctor: Sendable {
    private let configurationPath: String?
    private let socket: String

    package init(configurationPath: String?, socket: String) {
        self.configurationPath = configurationPath
        self.socket = socket
    }

    /// All findings, in the order in which to mend them.
    package func examine() async -> [DoctorFinding] {
        let (configuration, finding) = configurationFinding()
        var findings = [finding, rights(), sockets()]
        findings.append(await daemon())
        if let configuration {
            findings.append(kernelEvents(configuration))
            findings.append(await caddy(configuration))
            findings += owners(configuration)
        }
        return findings
    }

    private func configurationFinding() -> (Configuration?, DoctorFinding) {
        let path = configurationPath ?? Configuration.defaultPath
        do {
            let configuration = try Configuration.load(path: path, mayBeMissing: configurationPath == nil)
            return (configuration, DoctorFinding(check: "configuration", level: .ok, detail: path))
        } catch {
            return (
                nil,
                DoctorFinding(
                    check: "configuration", level: .error, detail: "\(error)",
                    hint: "mend the file, then `systemctl restart samd`")
            )
        }
    }

    private func rights() -> DoctorFinding {
        geteuid() == 0
            ? DoctorFinding(check: "rights", level: .ok, detail: "running as root")
            : DoctorFinding(
                check: "rights", level: .warning, detail: "running as uid \(geteuid())",
                hint:
                    "the daemon sees other users' processes and kernel events only as root; `sudo samd doctor` sees all that it sees"
            )
    }

    private func sockets() -> DoctorFinding {
        do {
            var buffer = ReadBuffer()
            let listeners = try TCPTable.allCases.reduce(0) { count, table in
                count + (try ProcFileSystem().tcpListeners(in: table, buffer: &buffer)?.listeners.count ?? 0)
            }
            return DoctorFinding(
                check: "socket tables", level: .ok, detail: "\(listeners) listening TCP sockets")
        } catch {
            return DoctorFinding(
                check: "socket tables", level: .error, detail: "\(error)",
                hint: "is /proc mounted and readable?")
        }
    }

    private func daemon() async -> DoctorFinding {
        do {
            let status = try await LocalAPIClient(socket: socket).get("/v1/status", as: StatusReport.self)
                .value
            guard let sick = status.services.first(where: { $0.health != "ok" }) else {
                return DoctorFinding(
                    check: "daemon", level: .ok,
                    detail: "samd \(status.version), pid \(status.pid), \(status.wakeUp.source)")
            }
            return DoctorFinding(
                check: "daemon", level: .warning, detail: "service \(sick.name): \(sick.detail)",
                hint: sick.hint)
        } catch {
            return DoctorFinding(
                check: "daemon", level: .error, detail: "\(error)", hint: "systemctl start samd")
        }
    }

    private func kernelEvents(_ configuration: Configuration) -> DoctorFinding {
        let root = configuration.ports.tracefs
        if configuration.ports.events == .polling {
            return DoctorFinding(check: "kernel events", level: .ok, detail: "switched off by ports.events")
        }
        let event = "\(root)/events/sock/inet_sock_set_state/enable"
        if access("\(root)/instances", W_OK) == 0, access(event, F_OK) == 0 {
            return DoctorFinding(check: "kernel events", level: .ok, detail: "\(root) is usable")
        }
        let code = errno
        return DoctorFinding(
            check: "kernel events", level: .warning,
            detail:
                "\(root) is not usable (\(String(cString: strerror(code)))), so new ports are noticed by polling, within 1 to 5 s",
            hint: geteuid() == 0
                ? "mount -t tracefs tracefs \(root)" : "only root can tell; try `sudo samd doctor`")
    }

    private func caddy(_ configuration: Configuration) async -> DoctorFinding {
        let endpoint = configuration.caddy.admin
        let client = HTTPClient()
        defer { client.close() }
        do {
            let server = try await CaddyAdminClient(endpoint: endpoint, http: client)
                .readServer(key: CaddyRenderer.serverKey)
            let what = server == nil ? "it has no server of samd's yet" : "it has samd's server"
            return DoctorFinding(check: "caddy", level: .ok, detail: "\(endpoint) answers; \(what)")
        } catch {
            return DoctorFinding(check: "caddy", level: .error, detail: error.reason, hint: error.hint)
        }
    }

    private func owners(_ configuration: Configuration) -> [DoctorFinding] {
        let users = SystemUsers()
        return configuration.workspace.owners.compactMap { owner in
            guard case .name(let name) = owner, users.uid(of: name) == nil else { return nil }
            return DoctorFinding(
                check: "workspace owner", level: .warning,
                detail: "there is no user \"\(name)\" on this machine",
                hint: "create the user, or correct workspace.owners")
        }
    }
}
