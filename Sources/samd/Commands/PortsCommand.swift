import ArgumentParser
import SamdCore

struct PortsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ports", abstract: "List listening ports, or decide who may open one.",
        subcommands: [ListPorts.self, SetPort.self], defaultSubcommand: ListPorts.self)
}

struct ListPorts: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List listening ports, their URLs, and why some have none.")

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
                print(PortTable.offered(offered))
                for port in offered where port.state == "pending" {
                    print("port \(port.name) waits: \(port.reason ?? "Caddy has not taken it yet")")
                }
            }
            if !refused.isEmpty { print("\nNot published:\n" + PortTable.refused(refused)) }
        }
    }
}

struct SetPort: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Decide whether a port is published, and who may open it.",
        discussion: """
            What is set holds for this port of this user, also after restarts, until it is set otherwise or another user \
            listens there. Root may publish what others may not.
            """)

    @Argument(help: "The port as `samd ports` names it: 3000, or 3000-web for one of the container web.")
    var name: String

    @Option(help: "Who gets through: basic (whoever knows the web password) or public (everybody).")
    var auth: PortAccess?

    @Flag(help: "Publish it although the policy refuses it.")
    var publish = false

    @Flag(help: "Withdraw it.")
    var unpublish = false

    @Flag(help: "Forget what was set before.")
    var reset = false

    @OptionGroup var options: ClientOptions

    func validate() throws {
        if publish, unpublish { throw ValidationError("--publish and --unpublish contradict each other.") }
        if auth == nil, !publish, !unpublish, !reset {
            throw ValidationError("Nothing to set: give --auth, --publish, --unpublish or --reset.")
        }
    }

    func run() async throws {
        try await options.reportingErrors {
            let change = PortChange(
                auth: auth, published: publish ? true : unpublish ? false : nil, isReset: reset)
            let (port, json) = try await options.client.send(
                "PUT", "/v1/ports/\(URLPath.segment(name))", change, as: PortReport.self)
            if options.json { return print(json) }
            let what = port.url.map { "\(port.state) at \($0)" } ?? "\(port.state): \(port.reason ?? "")"
            print("port \(port.name): \(what)\(port.auth == "public" ? ", open to everybody" : "")")
        }
    }
}

extension PortAccess: ExpressibleByArgument {}

/// How ports are shown on a terminal.
private enum PortTable {
    static func offered(_ ports: [PortReport]) -> String {
        var table = Table(header: ["PORT", "STATE", "ACCESS", "URL", "ADDRESS", "OWNER", "PROCESS"])
        for port in ports {
            table.append([
                port.name, port.state, port.auth ?? "-", port.url ?? port.reason ?? "", port.address,
                owner(port), process(port),
            ])
        }
        return table.text
    }

    static func refused(_ ports: [PortReport]) -> String {
        var table = Table(header: ["PORT", "ADDRESS", "OWNER", "PROCESS", "WHY", "WHAT TO DO"])
        for port in ports {
            table.append([
                port.name, port.address, owner(port), process(port), port.reason ?? "", port.hint ?? "-",
            ])
        }
        return table.text
    }

    /// The user, and the container where there is one.
    private static func owner(_ port: PortReport) -> String {
        let user = port.owner.user ?? "\(port.owner.uid)"
        return port.container.map { "\(user) in \($0.name)" } ?? user
    }

    private static func process(_ port: PortReport) -> String {
        guard let process = port.process else { return "-" }
        let command = process.command.count > 40 ? process.command.prefix(39) + "…" : process.command
        return "\(command) (\(process.pid))"
    }
}
