import ArgumentParser
import SamdCore

struct PortsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ports", abstract: "List listening ports, their URLs, and why some have none.")

    @OptionGroup var options: ClientOptions

    func run() async throws {
        try await options.reportingErrors {
            let (list, json) = try await options.client.get("/v1/ports", as: PortList.self)
            if options.json { return print(json) }
            let refused = list.ports.filter { $0.state == "refused" }
            let offered = list.ports.filter { $0.state != "refused" }
            if offered.isEmpty {
                print(
                    "No port is published. Start a server as a workspace owner, for example: python3 -m http.server 3000"
                )
            } else {
                var table = Table(header: ["PORT", "STATE", "URL", "ADDRESS", "USER", "PROCESS"])
                for port in offered { table.append(Self.row(port, what: port.url ?? port.reason ?? "")) }
                print(table.text)
                for port in offered where port.state == "pending" {
                    print("port \(port.port) waits: \(port.reason ?? "Caddy has not taken it yet")")
                }
            }
            guard !refused.isEmpty else { return }
            print("\nNot published:")
            var table = Table(header: ["PORT", "ADDRESS", "USER", "PROCESS", "WHY"])
            for port in refused {
                let why = (port.reason ?? "") + (port.hint.map { "; \($0)" } ?? "")
                table.append(["\(port.port)", port.address, Self.user(port), Self.process(port), why])
            }
            print(table.text)
        }
    }

    private static func row(_ port: PortReport, what: String) -> [String] {
        ["\(port.port)", port.state, what, port.address, user(port), process(port)]
    }

    private static func user(_ port: PortReport) -> String { port.owner.user ?? "\(port.owner.uid)" }

    private static func process(_ port: PortReport) -> String {
        guard let process = port.process else { return "-" }
        let command = process.command.count > 40 ? process.command.prefix(39) + "…" : process.command
        return "\(command) (\(process.pid))"
    }
}
