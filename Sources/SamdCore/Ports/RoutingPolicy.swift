import CaddyConfig

/// What decides whether a listening port is published and under which name; plain values, no look-ups.
package struct RoutingPolicy: Sendable, Equatable {
    /// Whose listeners are offered.
    package enum Owners: Sendable, Equatable {
        /// Every login user: uid 1000 to 59999 (Debian policy 9.2.2).
        case loginUsers
        /// These user ids; `names` is how the configuration spells them.
        case listed(uids: Set<UInt32>, names: [String])

        func contains(_ uid: UInt32) -> Bool {
            switch self {
            case .loginUsers: (1000...59999).contains(uid)
            case .listed(let uids, _): uids.contains(uid)
            }
        }
    }

    package var owners = Owners.loginUsers
    package var min: UInt16 = 1024
    package var ignore: Set<UInt16> = []
    package var deny: Set<UInt16> = Set(Configuration.Ports.defaultDeny)
    package var allowEphemeral: Set<UInt16> = []
    /// The kernel's range for outgoing connections (ip_local_port_range).
    package var ephemeral: ClosedRange<UInt16> = 32768...60999
    /// Ports that Caddy itself listens on for samd: publishing them would make a loop.
    package var reserved: Set<UInt16> = []
    package var limit = 100
    /// Whether containers' ports are offered.
    package var containers = true
    /// Whether overrides may take the password off a port.
    package var allowPublic = true
    /// Further names of ports.
    package var aliases: [String: UInt16] = [:]
    /// Where relays' sockets are.
    package var relayFolder = "/run/samd/relay"
    package var pattern = "{port}--{vm}.{domain}"
    package var vm = "vm"
    package var domain = "localhost"
    /// How URLs begin and which port they name, if any.
    package var scheme = "http"
    package var urlPort: UInt16?

    package init() {}

    /// The host name under which a port of that name is published.
    package func host(for name: String) -> String {
        HostName.expand(pattern, port: name, vm: vm, domain: domain)
    }

    /// The host names for a port's own names, aliases behind them.
    func hosts(for names: [String]) -> [String] {
        let further = names.compactMap { UInt16($0) }.flatMap { port in
            aliases.filter { $0.value == port }.keys.sorted()
        }
        return (names + further).map { host(for: $0) }
    }

    /// How many characters a port's name may have, so that its label has 63 at most and the whole name 253.
    var longestPortLabel: Int {
        let frame = host(for: "")
        let label = frame.prefix { $0 != "." }.utf8.count
        return max(5, Swift.min(63 - label, 253 - frame.utf8.count))
    }

    /// What certificates have to cover so that all these hosts are: one wildcard, since the port begins the first label. Below a
    /// single label (`*.localhost`) clients accept none, so there each host is named.
    package func certificateSubjects(for hosts: [String]) -> [String] {
        let parent = host(for: "").drop { $0 != "." }.dropFirst()
        return parent.contains(".") ? ["*.\(parent)"] : hosts.sorted()
    }

    /// The URL of a host name.
    package func url(for host: String) -> String {
        let suffix = urlPort.map { ":\($0)" } ?? ""
        return "\(scheme)://\(host)\(suffix)/"
    }
}

extension RoutingPolicy {
    /// The policy that a configuration asks for on this machine.
    ///
    /// - Parameters:
    ///   - hostName: this machine's host name, used where `routes.vm` is empty.
    ///   - ephemeral: the kernel's ephemeral range.
    ///   - userID: looks a login name up; nil when there is no such user (yet).
    package init(
        _ configuration: Configuration, hostName: String, ephemeral: ClosedRange<UInt16>,
        userID: (String) -> UInt32?
    ) {
        self.init()
        let owners = configuration.workspace.owners
        if !owners.isEmpty {
            let uids = owners.compactMap { owner -> UInt32? in
                switch owner {
                case .uid(let uid): uid
                case .name(let name): userID(name)
                }
            }
            self.owners = .listed(uids: Set(uids), names: owners.map(\.description))
        }
        min = configuration.ports.min
        ignore = Set(configuration.ports.ignore)
        deny = Set(configuration.ports.deny)
        allowEphemeral = Set(configuration.ports.allowEphemeral)
        self.ephemeral = ephemeral
        limit = configuration.ports.limit
        containers = configuration.workspace.containers
        allowPublic = configuration.ports.allowPublic
        aliases = configuration.routes.aliases
        relayFolder = configuration.relayFolder
        reserved = Set(configuration.caddy.listen.map(\.port))
        if case .tcp(_, let port) = configuration.caddy.admin { reserved.insert(port) }
        pattern = configuration.routes.pattern
        domain = configuration.routes.domain
        vm = configuration.routes.vm.isEmpty ? Self.label(from: hostName) : configuration.routes.vm
        let isEncrypted = configuration.caddy.tls != .off
        if isEncrypted || configuration.caddy.behindProxy { scheme = "https" }
        if !configuration.caddy.behindProxy {
            let usual: UInt16 = isEncrypted ? 443 : 80
            urlPort = configuration.caddy.listen.first.map(\.port).flatMap { $0 == usual ? nil : $0 }
        }
    }

    /// A host name's first label with everything that may not stand in one replaced by hyphens.
    static func label(from hostName: String) -> String {
        let first = hostName.lowercased().prefix { $0 != "." }.prefix(63)
        let cleaned = first.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }
        let label = String(cleaned.drop { $0 == "-" }.reversed().drop { $0 == "-" }.reversed())
        return label.isEmpty ? "vm" : label
    }
}
