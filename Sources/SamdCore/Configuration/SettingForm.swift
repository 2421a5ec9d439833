import CaddyConfig
import ProcFS

/// How values of one kind are written in the configuration file: what is accepted, how it is read and shown.
struct SettingForm<Value: Sendable>: Sendable {
    /// What to write, for example `a number from 1 to 65535`.
    var accepted: String
    /// Reads a value; nil when it has not that form.
    var parse: @Sendable (ConfigurationValue) -> Value?
    /// The TOML literal of a value.
    var render: @Sendable (Value) -> String
}

extension SettingForm where Value == String {
    static func text(_ accepted: String, where isValid: @escaping @Sendable (String) -> Bool) -> Self {
        Self(
            accepted: accepted,
            parse: { value in
                guard case .string(let text) = value, isValid(text) else { return nil }
                return text
            },
            render: { "\"\($0)\"" })
    }

    static var absolutePath: Self {
        text("an absolute path, for example \"/var/lib/samd\"") { path in
            path.hasPrefix("/") && path.utf8.count < 4096 && !path.contains("\0")
        }
    }

    /// An absolute path, or nothing.
    static var optionalPath: Self {
        text("an absolute path, or \"\" for none") { path in
            path.isEmpty || path.hasPrefix("/") && path.utf8.count < 4096 && !path.contains("\0")
        }
    }

    /// Addresses in CIDR notation (RFC 4632).
    static var network: Self {
        text("a network such as \"10.0.0.0/8\" or \"::1/128\"") { network in
            let parts = network.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2, let address = IPAddress(String(parts[0])),
                let bits = Int(parts[1]), String(bits) == parts[1]
            else { return false }
            return (0...(address.isIPv6 ? 128 : 32)).contains(bits)
        }
    }

    /// A unix socket's path fits into sockaddr_un (unix(7)).
    static var socketPath: Self {
        text("an absolute path of at most 107 bytes, for example \"/run/samd/samd.sock\"") { path in
            path.hasPrefix("/") && path.utf8.count <= 107 && !path.contains("\0")
        }
    }
}

extension SettingForm where Value == String {
    /// A webhook's URL, a file that holds it, or nothing.
    static var webhook: Self {
        text("\"https://…\", the absolute path of a file that holds such a URL, or \"\" for none") { text in
            text.isEmpty || WebhookAddress(text) != nil
                || text.hasPrefix("/") && text.utf8.count < 4096 && !text.contains("\0")
        }
    }

    /// One word of a command.
    static var argument: Self {
        text("a text of at most 4096 bytes") { $0.utf8.count <= 4096 && !$0.contains("\0") }
    }
}

extension SettingForm where Value == NotificationKind {
    static var notificationKind: Self {
        Self(
            accepted:
                "one of \(NotificationKind.selectable.map { "\"\($0.rawValue)\"" }.joined(separator: ", "))",
            parse: { value in
                guard case .string(let text) = value else { return nil }
                return NotificationKind.selectable.first { $0.rawValue == text }
            },
            render: { "\"\($0.rawValue)\"" })
    }
}

extension SettingForm where Value == Duration {
    /// Durations from `minimum` to `maximum`, written as `"90s"`, `"15m"`, `"2h"`.
    static func duration(from minimum: Duration, to maximum: Duration) -> Self {
        let bounds = "from \(DurationText.render(minimum)) to \(DurationText.render(maximum))"
        return Self(
            accepted: "a duration \(bounds) with its unit (ms, s, m, h, d), for example \"15m\"",
            parse: { value in
                guard case .string(let text) = value, let duration = DurationText.parse(text),
                    minimum <= duration, duration <= maximum
                else { return nil }
                return duration
            },
            render: { "\"\(DurationText.render($0))\"" })
    }
}

extension SettingForm where Value == Bool {
    static var boolean: Self {
        Self(
            accepted: "true or false",
            parse: { if case .boolean(let value) = $0 { value } else { nil } },
            render: { "\($0)" })
    }
}

extension SettingForm where Value == Int {
    static func integer(_ range: ClosedRange<Int>) -> Self {
        Self(
            accepted: "a number from \(range.lowerBound) to \(range.upperBound)",
            parse: { if case .integer(let value) = $0, range.contains(value) { value } else { nil } },
            render: { "\($0)" })
    }
}

extension SettingForm where Value == UInt16 {
    static var port: Self {
        Self(
            accepted: "a port number from 1 to 65535",
            parse: { value in
                if case .integer(let number) = value, (1...65535).contains(number) {
                    UInt16(number)
                } else {
                    nil
                }
            },
            render: { "\($0)" })
    }
}

extension SettingForm {
    /// A list of at most `limit` values of one form.
    static func list<Element>(of element: SettingForm<Element>, limit: Int, example: String) -> SettingForm<
        [Element]
    > {
        SettingForm<[Element]>(
            accepted: "a list, each element \(element.accepted), for example \(example)",
            parse: { value in
                guard case .array(let values) = value, values.count <= limit else { return nil }
                let elements = values.compactMap(element.parse)
                return elements.count == values.count ? elements : nil
            },
            render: { "[\($0.map(element.render).joined(separator: ", "))]" })
    }

    /// One of an enumeration's words.
    static func choice<Choice>(_ type: Choice.Type) -> SettingForm<Choice>
    where Choice: RawRepresentable<String> & CaseIterable & Sendable {
        SettingForm<Choice>(
            accepted: "one of \(Choice.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", "))",
            parse: { if case .string(let text) = $0 { Choice(rawValue: text) } else { nil } },
            render: { "\"\($0.rawValue)\"" })
    }
}

extension SettingForm where Value == [String: UInt16] {
    /// Names for ports; a name must not look like a port's own.
    static var aliases: Self {
        Self(
            accepted:
                "names and their ports, each name a host label that begins with a letter, for example { ui = 3001 }",
            parse: { value in
                guard case .table(let table) = value, table.count <= 100 else { return nil }
                var aliases: [String: UInt16] = [:]
                for (name, port) in table {
                    guard HostName.isLabel(name), name.first?.isLetter == true, name == name.lowercased(),
                        case .integer(let number) = port, (1...65535).contains(number)
                    else { return nil }
                    aliases[name] = UInt16(number)
                }
                return aliases
            },
            render: { aliases in
                let pairs = aliases.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)" }
                return pairs.isEmpty ? "{}" : "{ \(pairs.joined(separator: ", ")) }"
            })
    }
}

extension SettingForm where Value == WorkspaceOwner {
    static var owner: Self {
        Self(
            accepted: "a user name or a numeric user id",
            parse: { value in
                switch value {
                case .string(let name) where !name.isEmpty && name.utf8.count <= 32: .name(name)
                case .integer(let uid) where (0..<0xFFFF_FFFE).contains(uid): .uid(UInt32(uid))
                default: nil
                }
            },
            render: { owner in
                switch owner {
                case .name(let name): "\"\(name)\""
                case .uid(let uid): "\(uid)"
                }
            })
    }
}

extension SettingForm where Value == ListenAddress {
    static var listenAddress: Self {
        Self(
            accepted:
                "an address with its port, for example \"127.0.0.1:8080\", \"[::1]:8080\" or \":8080\" for all",
            parse: { if case .string(let text) = $0 { ListenAddress(parsing: text) } else { nil } },
            render: { "\"\($0)\"" })
    }
}

extension SettingForm where Value == CaddyAdminEndpoint {
    static var adminEndpoint: Self {
        Self(
            accepted:
                "\"unix//absolute/path\" (recommended) or an address of this machine such as \"127.0.0.1:2019\"",
            parse: { value in
                guard case .string(let text) = value, let endpoint = CaddyAdminEndpoint(text) else {
                    return nil
                }
                switch endpoint {
                case .unix(let path): return path.hasPrefix("/") && path.utf8.count <= 107 ? endpoint : nil
                case .tcp(let host, let port):
                    return ListenAddress(host: host, port: port).isLoopback ? endpoint : nil
                }
            },
            render: { "\"\($0)\"" })
    }
}

extension ListenAddress {
    /// Parses `host:port`, `[v6]:port` or `:port`; nil when it is none of these.
    init?(parsing text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
            port > 0
        else {
            return nil
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        guard host.isEmpty || host == "localhost" || IPAddress(host) != nil else { return nil }
        self.init(host: host, port: port)
    }
}
