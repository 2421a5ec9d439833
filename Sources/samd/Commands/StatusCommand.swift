import ArgumentParser
import SamdCore

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how the daemon and its services fare.")

    @OptionGroup var options: ClientOptions

    func run() async throws {
        try await options.reportingErrors {
            let (status, json) = try await options.client.get("/v1/status", as: StatusReport.self)
            if options.json { return print(json) }
            print(
                "samd \(status.version) is \(status.state) on \(status.vm) (pid \(status.pid), since \(status.startedAt))"
            )
            let pending = status.ports.pending > 0 ? ", \(status.ports.pending) waiting for Caddy" : ""
            print(
                "ports: \(status.ports.published) published\(pending), \(status.ports.refused) refused; see `samd ports`"
            )
            print(
                "new ports are noticed by \(status.wakeUp.source)\(status.wakeUp.reason.map { ": \($0)" } ?? "")"
            )
            if let idle = status.idle { print("use: \(idle.summary); see `samd idle`") }
            var table = Table(header: ["SERVICE", "HEALTH", "DETAIL"])
            for service in status.services {
                table.append([service.name, service.health, service.detail])
                if let hint = service.hint { table.append(["", "", "→ \(hint)"]) }
            }
            print("\n\(table.text)")
        }
    }
}
