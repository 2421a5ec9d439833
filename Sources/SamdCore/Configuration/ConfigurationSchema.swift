/// One key of the configuration file: its name, the form of its value, and where the value goes.
struct Setting: Sendable {
    /// The dotted key, for example `ports.min`.
    let key: String
    /// What it decides, for the reference: one or two sentences.
    let summary: String
    /// What to write.
    let accepted: String
    /// Whether a running daemon takes a new value at reload.
    let reloadable: Bool
    /// Whether a value may hold a secret, so that no message repeats it.
    let isSecret: Bool
    /// The TOML literal of this setting in a configuration.
    let literal: @Sendable (Configuration) -> String
    /// Takes this setting from one configuration into another.
    let copy: @Sendable (Configuration, inout Configuration) -> Void
    /// Reads a value into a configuration; false when it has not the accepted form.
    let apply: @Sendable (ConfigurationValue, inout Configuration) -> Bool

    init<Value: Sendable>(
        _ key: String, _ path: any (WritableKeyPath<Configuration, Value> & Sendable),
        _ form: SettingForm<Value>,
        reloadable: Bool = true, isSecret: Bool = false, _ summary: String
    ) {
        self.key = key
        self.summary = summary
        self.accepted = form.accepted
        self.reloadable = reloadable
        self.isSecret = isSecret
        self.literal = { form.render($0[keyPath: path]) }
        self.copy = { $1[keyPath: path] = $0[keyPath: path] }
        self.apply = { value, configuration in
            guard let parsed = form.parse(value) else { return false }
            configuration[keyPath: path] = parsed
            return true
        }
    }
}

/// Every key that samd knows; parsing, validation, the reference and the reload rules all read this one list.
package enum ConfigurationSchema {
    static let settings: [Setting] = daemon + workspace + ports + routes + caddy + idle + notify

    /// The sections in order, with the sentence that opens each in the reference.
    static let sections: [(name: String, summary: String)] = [
        ("daemon", "Where samd keeps its things and how it watches itself."),
        ("workspace", "Whose processes and which folders belong to the workspace."),
        ("ports", "Which listening ports are offered, and how changes are noticed."),
        ("routes", "How published ports are named and who may open them."),
        ("caddy", "Where Caddy is and what it listens on for samd."),
        ("idle", "When the machine counts as unused; idle.md explains the signals that it is told by."),
        ("notify", "Who is told when Claude waits, the machine becomes idle, or something is wrong."),
    ]

    private static let daemon: [Setting] = [
        Setting(
            "daemon.state_dir", \.daemon.stateDirectory, .absolutePath, reloadable: false,
            "Folder of what survives a restart: the web password and, within one boot, when each port was first seen. For root alone."
        ),
        Setting(
            "daemon.runtime_dir", \.daemon.runtimeDirectory, .absolutePath, reloadable: false,
            "Folder of what lives until the next boot: the lock against a second daemon."),
        Setting(
            "daemon.socket", \.daemon.socket, .socketPath, reloadable: false,
            "The local API's socket when systemd passes none; with samd.socket active, that unit's ListenStream= decides."
        ),
        Setting(
            "daemon.stall_limit", \.daemon.stallLimit, .duration(from: .seconds(3), to: .seconds(600)),
            reloadable: false,
            "How long a service may go without progress before samd stops answering systemd's watchdog and is restarted."
        ),
        Setting(
            "daemon.log_level", \.daemon.logLevel, .choice(LogLevel.self), reloadable: false,
            "The least severe level that is logged."),
    ]

    private static let workspace: [Setting] = [
        Setting(
            "workspace.owners", \.workspace.owners, .list(of: .owner, limit: 64, example: "[\"dev\"]"),
            "Users whose listening ports are published. Empty means every login user (uid 1000 to 59999)."),
        Setting(
            "workspace.containers", \.workspace.containers, .boolean,
            "Whether ports that containers listen on are published: those that root or a workspace owner started, with whatever users inside."
        ),
        Setting(
            "workspace.folders", \.workspace.folders,
            .list(of: .absolutePath, limit: 64, example: "[\"/workspace\", \"/home/dev/app\"]"),
            reloadable: false,
            "Folders whose changed files show that the machine is used; those that are missing do not matter. The folders that Claude works in are watched as well."
        ),
    ]

    private static let ports: [Setting] = [
        Setting("ports.min", \.ports.min, .port, "Ports below this one are not offered."),
        Setting(
            "ports.ignore", \.ports.ignore, .list(of: .port, limit: 1000, example: "[8000, 8001]"),
            "Ports that are not offered, in addition to `ports.deny`."),
        Setting(
            "ports.deny", \.ports.deny, .list(of: .port, limit: 1000, example: "[5432, 6379]"),
            "Ports that speak no HTTP or open a door to the machine (databases, container engines, debuggers). Setting it replaces the default list."
        ),
        Setting(
            "ports.allow_ephemeral", \.ports.allowEphemeral,
            .list(of: .port, limit: 1000, example: "[40000]"),
            "Ports within the kernel's ephemeral range that are offered all the same; others there are taken for outgoing connections' or test servers'."
        ),
        Setting(
            "ports.limit", \.ports.limit, .integer(1...1000),
            "The most ports that are published at a time; those that were there first stay."),
        Setting(
            "ports.allow_public", \.ports.allowPublic, .boolean,
            "Whether `samd ports set PORT --auth public` may take the password off a port. False also ends what was allowed before."
        ),
        Setting(
            "ports.events", \.ports.events, .choice(EventSource.self), reloadable: false,
            "`auto` wakes on the kernel's socket events and polls where the machine has none; `polling` never uses them."
        ),
        Setting(
            "ports.tracefs", \.ports.tracefs, .absolutePath, reloadable: false,
            "Where tracefs is mounted."),
        Setting(
            "ports.tracefs_instance", \.ports.tracefsInstance,
            .text("a name of letters, digits, '-' and '_', for example \"samd\"", where: isInstanceName),
            reloadable: false,
            "Name of samd's own trace instance. Two daemons that share a kernel need two names."),
    ]

    private static let routes: [Setting] = [
        Setting(
            "routes.domain", \.routes.domain,
            .text("a domain name, for example \"vm.example.com\"", where: HostName.isValid),
            "The domain under which ports are published."),
        Setting(
            "routes.vm", \.routes.vm,
            .text(
                "a host label such as \"vm1\", or \"\" for this machine's host name",
                where: { $0.isEmpty || HostName.isLabel($0) }),
            "This machine's name within the domain. Empty means its host name."),
        Setting(
            "routes.pattern", \.routes.pattern,
            .text("\"{port}--{vm}.{domain}\" or \"{port}.{vm}.{domain}\"", where: HostName.isPattern),
            "How a port's host name is made. The flat form needs one DNS record a port and a certificate for one label; the nested form one wildcard record."
        ),
        Setting(
            "routes.aliases", \.routes.aliases, .aliases,
            "Further names for ports: with `ui = 3001` port 3001 also answers where the pattern holds `ui` for the port."
        ),
        Setting(
            "routes.user", \.routes.user,
            .text("a user name of letters, digits, '.', '-' and '_', for example \"dev\"", where: isUserName),
            "The user name that goes with the web password (`samd password`)."),
    ]

    private static let caddy: [Setting] = [
        Setting(
            "caddy.admin", \.caddy.admin, .adminEndpoint, reloadable: false,
            "Caddy's admin endpoint. A unix socket keeps it from every other user of the machine; port 2019 does not."
        ),
        Setting(
            "caddy.listen", \.caddy.listen,
            .list(of: .listenAddress, limit: 16, example: "[\"127.0.0.1:8080\"]"),
            "What Caddy listens on for published ports. Without `caddy.tls` only loopback addresses, unless `caddy.behind_proxy` is set."
        ),
        Setting(
            "caddy.tls", \.caddy.tls, .choice(TLSMode.self),
            "`off`: clear text. `internal`: certificates of an authority that Caddy makes for samd, which browsers must be told to trust. `files`: `caddy.certificate` and `caddy.key`."
        ),
        Setting(
            "caddy.certificate", \.caddy.certificate, .optionalPath,
            "For `caddy.tls = \"files\"`: the certificate and its intermediates in PEM form. samd reads it and gives it to Caddy; a new content is taken up at reload."
        ),
        Setting(
            "caddy.key", \.caddy.key, .optionalPath,
            "For `caddy.tls = \"files\"`: the private key in PEM form. Root's alone: nobody else has to read it."
        ),
        Setting(
            "caddy.behind_proxy", \.caddy.behindProxy, .boolean,
            "Whether a proxy or tunnel that ends TLS stands in front of Caddy. It allows addresses other than loopback, and URLs begin with https."
        ),
        Setting(
            "caddy.trusted_proxies", \.caddy.trustedProxies,
            .list(of: .network, limit: 64, example: "[\"127.0.0.0/8\", \"::1/128\"]"),
            "With `caddy.behind_proxy`: where that proxy's requests come from. Their X-Forwarded-* headers are passed on, those of others are replaced."
        ),
        Setting(
            "caddy.access_log", \.caddy.accessLog, .boolean, reloadable: false,
            "Whether Caddy tells samd of each finished request (host, user, status, bytes), for the counters; over a socket in `daemon.runtime_dir` that only Caddy may open."
        ),
    ]

    private static let notify: [Setting] = [
        Setting(
            "notify.webhook", \.notify.webhook, .webhook, isSecret: true,
            "Where notifications are posted as JSON. Whoever knows such a URL may post there, so rather name a file that holds it and only root may read (mode 0600)."
        ),
        Setting(
            "notify.command", \.notify.command,
            .list(of: .argument, limit: 32, example: "[\"/usr/local/bin/tell-me\", \"--json\"]"),
            "A program, by its absolute path, that gets each notification as JSON on standard input. It runs as root in samd's sandbox and is killed after 30 s."
        ),
        Setting(
            "notify.events", \.notify.events,
            .list(of: .notificationKind, limit: 16, example: "[\"waiting\", \"warned\"]"),
            "What is worth a notification. `waiting`: Claude asks its user. `warned`: the machine becomes idle soon. `interrupted`: it was rebooted amid work. `alarm`: something only people can judge."
        ),
    ]

    private static func isInstanceName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 64
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }
    }

    private static func isUserName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 64
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
    }

    /// The keys of a changed configuration that take effect only at the next start.
    package static func keysThatNeedRestart(from old: Configuration, to new: Configuration) -> [String] {
        settings.filter { !$0.reloadable && $0.literal(old) != $0.literal(new) }.map(\.key)
    }

    /// Gives a new configuration the old values of the keys that a reload does not change.
    static func keepWhatNeedsRestart(of old: Configuration, in new: inout Configuration) {
        for setting in settings where !setting.reloadable { setting.copy(old, &new) }
    }
}
