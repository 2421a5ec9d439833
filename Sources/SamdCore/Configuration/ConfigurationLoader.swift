import CaddyConfig

extension Configuration {
    /// The file that is read when none is named.
    package static let defaultPath = "/etc/samd/samd.toml"
    /// The largest file that is read.
    package static let maximumFileBytes = 1 << 20

    /// Reads and validates a configuration file.
    ///
    /// - Parameter mayBeMissing: whether a missing file means the defaults; for the default path, not for one that was asked for.
    /// - Throws: `ConfigurationError` with every problem that was found.
    package static func load(path: String, mayBeMissing: Bool) throws(ConfigurationError) -> Configuration {
        let text: String
        do {
            let bytes = try BoundedFile.read(path, limit: maximumFileBytes)
            guard let decoded = String(validating: bytes, as: UTF8.self) else {
                throw ConfigurationError(
                    file: path, problem: "is not UTF-8 text", accepted: "the file in UTF-8")
            }
            text = decoded
        } catch let error as FileError {
            if mayBeMissing, error.isMissing { return Configuration() }
            throw ConfigurationError(
                file: path, problem: "cannot be read: \(error.reason)",
                accepted: "a readable file there, or name another with --config")
        } catch let error as ConfigurationError {
            throw error
        } catch {
            throw ConfigurationError(file: path, problem: "\(error)", accepted: "a readable file")
        }
        return try parse(text, file: path)
    }

    /// Parses and validates a configuration; keys that are not set keep their defaults.
    package static func parse(_ text: String, file: String) throws(ConfigurationError) -> Configuration {
        let document: [String: ConfigurationValue]
        do {
            document = try ConfigurationValue.parse(text)
        } catch {
            throw ConfigurationError(file: file, problems: [error])
        }
        let lines = ConfigurationLines(text)
        var configuration = Configuration()
        var problems: [ConfigurationProblem] = []
        for (path, value) in flatten(document) {
            if let problem = configuration.apply(value, at: path) {
                problems.append(problem)
            }
        }
        if problems.isEmpty { problems = configuration.contradictions() }
        guard problems.isEmpty else {
            problems = problems.map { problem in
                var placed = problem
                placed.line = problem.key.flatMap(lines.line(of:))
                return placed
            }
            problems.sort { ($0.line ?? 0, $0.key ?? "") < ($1.line ?? 0, $1.key ?? "") }
            throw ConfigurationError(file: file, problems: problems)
        }
        return configuration
    }

    private mutating func apply(_ value: ConfigurationValue, at path: String) -> ConfigurationProblem? {
        guard let setting = ConfigurationSchema.settings.first(where: { $0.key == path }) else {
            return Self.unknown(path, value)
        }
        guard setting.apply(value, &self) else {
            return ConfigurationProblem(
                line: nil, key: path,
                problem: "does not take \(setting.isSecret ? "what stands there" : value.described)",
                accepted: setting.accepted)
        }
        return nil
    }

    private static func unknown(_ path: String, _ value: ConfigurationValue) -> ConfigurationProblem {
        let sections = ConfigurationSchema.sections.map(\.name)
        if sections.contains(path) {
            return ConfigurationProblem(
                line: nil, key: path, problem: "is a section and does not take \(value.described)",
                accepted: "[\(path)] and its keys below it")
        }
        let section = path.split(separator: ".").first.map(String.init) ?? path
        let known = ConfigurationSchema.settings.map(\.key)
        let accepted: String
        if let close = EditDistance.closest(to: path, among: known, within: 3) {
            accepted = "\(close), if that was meant"
        } else if sections.contains(section) {
            let keys = known.filter { $0.hasPrefix(section + ".") }.map {
                String($0.dropFirst(section.count + 1))
            }
            accepted = "one of the keys of [\(section)]: \(keys.joined(separator: ", "))"
        } else {
            accepted = "keys under one of \(sections.map { "[\($0)]" }.joined(separator: ", "))"
        }
        return ConfigurationProblem(
            line: nil, key: path, problem: "is no setting of samd", accepted: accepted)
    }

    /// Values that are right one by one and wrong together.
    private func contradictions() -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        if caddy.listen.isEmpty {
            problems.append(
                ConfigurationProblem(
                    line: nil, key: "caddy.listen", problem: "is empty, so no URL would ever answer",
                    accepted: "at least one address, for example [\"127.0.0.1:8080\"]"))
        }
        if Set(caddy.listen.map(\.description)).count < caddy.listen.count {
            problems.append(
                ConfigurationProblem(
                    line: nil, key: "caddy.listen", problem: "names an address twice, which Caddy refuses",
                    accepted: "each address once"))
        }
        let name = HostName.expand(
            routes.pattern, port: "65535", vm: routes.vm.isEmpty ? "vm" : routes.vm, domain: routes.domain)
        if !HostName.isValid(name) {
            problems.append(
                ConfigurationProblem(
                    line: nil, key: routes.vm.isEmpty ? "routes.domain" : "routes.vm",
                    problem: "makes \(name), whose labels may have 63 characters and the whole 253",
                    accepted: "a shorter name"))
        }
        if let program = notify.command.first, !program.hasPrefix("/") {
            problems.append(
                ConfigurationProblem(
                    line: nil, key: "notify.command", problem: "begins with no absolute path",
                    accepted: "where the program is, for example [\"/usr/local/bin/tell-me\"]"))
        }
        return problems + encryptionProblems() + idleProblems()
    }

    private func encryptionProblems() -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        if caddy.tls == .off, !caddy.behindProxy, let open = caddy.listen.first(where: { !$0.isLoopback }) {
            problems.append(
                ConfigurationProblem(
                    line: nil, key: "caddy.listen",
                    problem:
                        "\(open) is reachable from outside, and the web password would cross the network in clear text",
                    accepted:
                        "a loopback address, or caddy.tls = \"internal\" or \"files\", or caddy.behind_proxy = true when a proxy or tunnel in front ends TLS"
                ))
        }
        if caddy.tls == .files, case .tcp = caddy.admin {
            problems.append(
                ConfigurationProblem(
                    line: nil, key: "caddy.admin",
                    problem:
                        "is a port that every user of the machine can open, and so read the private key there",
                    accepted:
                        "a unix socket such as \"unix//run/caddy/admin.sock\" with caddy.tls = \"files\""))
        }
        let files = [("caddy.certificate", caddy.certificate), ("caddy.key", caddy.key)]
        for (key, path) in files where (caddy.tls == .files) == path.isEmpty {
            problems.append(
                ConfigurationProblem(
                    line: nil, key: path.isEmpty ? "caddy.tls" : key,
                    problem: path.isEmpty
                        ? "is \"files\", and \(key) is not set"
                        : "is set, and caddy.tls is \"\(caddy.tls.rawValue)\"",
                    accepted: path.isEmpty
                        ? "\(key) = \"/path/to/file.pem\" as well" : "caddy.tls = \"files\", or remove it"))
        }
        return problems
    }

    private static func flatten(_ table: [String: ConfigurationValue], prefix: String = "") -> [(
        String, ConfigurationValue
    )] {
        table.flatMap { key, value -> [(String, ConfigurationValue)] in
            let path = prefix.isEmpty ? key : "\(prefix).\(key)"
            // A setting whose value is a table.
            if ConfigurationSchema.settings.contains(where: { $0.key == path }) { return [(path, value)] }
            if case .table(let inner) = value, !inner.isEmpty { return flatten(inner, prefix: path) }
            if case .table = value, ConfigurationSchema.sections.contains(where: { $0.name == path }) {
                return []
            }
            return [(path, value)]
        }
    }
}

extension ConfigurationError {
    init(file: String, problem: String, accepted: String) {
        self.init(
            file: file,
            problems: [ConfigurationProblem(line: nil, key: nil, problem: problem, accepted: accepted)])
    }
}
