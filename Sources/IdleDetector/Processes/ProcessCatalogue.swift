/// Another coding agent, by what its processes look like.
package struct AgentDescription: Sendable, Equatable {
    /// For people, and for metrics.
    package var name: String
    /// Names of its executables, and of scripts that node or Python run from a folder `bin`.
    package var commands: [String]
    /// Folders below the process's HOME in which files grow while it works.
    package var folders: [String]

    package init(name: String, commands: [String], folders: [String] = []) {
        self.name = name
        self.commands = commands
        self.folders = folders
    }
}

/// What kinds of processes are told apart by name: the one place for such lists.
package struct ProcessCatalogue: Sendable, Equatable {
    /// Other coding agents.
    package var agents: [AgentDescription] = [
        AgentDescription(name: "codex", commands: ["codex"], folders: [".codex/sessions"]),
        AgentDescription(name: "aider", commands: ["aider"]),
        AgentDescription(name: "gemini", commands: ["gemini"], folders: [".gemini/tmp"]),
        AgentDescription(name: "opencode", commands: ["opencode"], folders: [".local/share/opencode"]),
        AgentDescription(name: "openhands", commands: ["openhands"], folders: [".openhands"]),
        AgentDescription(name: "goose", commands: ["goose"], folders: [".local/share/goose/sessions"]),
        AgentDescription(name: "cursor-agent", commands: ["cursor-agent"]),
        AgentDescription(name: "amp", commands: ["amp"]),
        AgentDescription(name: "crush", commands: ["crush"]),
    ]

    /// Kernel names of processes that are there whether somebody works or not, and are no work themselves.
    package var ignoredNames: Set<String> = [
        // What makes and keeps a login session, and a user's own systemd.
        "sshd", "sshd-session", "sshd-auth", "login", "agetty", "su", "sudo", "systemd", "(sd-pam)",
        "systemd-userwor",
        "dbus-daemon", "dbus-broker", "dbus-broker-lau", "dbus-launch", "polkitd", "ssh-agent", "gpg-agent",
        "dirmngr",
        "keyboxd", "scdaemon", "gnome-keyring-d", "pipewire", "wireplumber", "pulseaudio",
        // Multiplexers' servers and clients: what runs in them is looked at by itself.
        "tmux: server", "tmux: client", "tmux", "screen", "SCREEN", "zellij", "dtach", "abduco",
        "mosh-server",
        // What holds a container together.
        "docker-init", "tini", "dumb-init", "catatonit", "pause", "s6-svscan", "s6-supervise", "runsvdir",
        "runsv",
        "supervisord", "conmon", "containerd-shim", "docker-proxy", "slirp4netns", "pasta", "fuse-overlayfs",
        "rootlessport", "aardvark-dns",
        // Schedulers between two runs.
        "cron", "crond", "atd", "anacron",
        // samd's own.
        "samd",
    ]

    /// Parts of the path of an executable or script that belongs to an editor's backend.
    package var ignoredPaths: [String] = [
        "/.vscode-server/", "/.vscode-server-insiders/", "/.vscode-remote/", "/.vscodium-server/",
        "/vscode-server/",
        "/.cursor-server/", "/.windsurf-server/", "/.trae-server/", "/.positron-server/", "/code-server/",
        "/openvscode-server/", "/.cache/JetBrains/", "/.local/share/JetBrains/", "/JetBrains/RemoteDev/",
        "/.zed_server/", "/.fleet/",
    ]
    /// Names of such executables.
    package var ignoredExecutables: Set<String> = [
        "code-server", "code-tunnel", "openvscode-server", "cli-server",
    ]

    /// Shells, as the kernel names them.
    package var shells: Set<String> = [
        "bash", "zsh", "fish", "sh", "dash", "ash", "ksh", "mksh", "tcsh", "csh", "nu", "pwsh", "xonsh",
        "elvish",
    ]
    /// Programs that run scripts under their own name; names that begin with `python` do too.
    package var interpreters: Set<String> = [
        "node", "nodejs", "MainThread", "node-MainThread", "bun", "deno", "uv", "pypy3",
    ]
    /// Where a job runs, by the name of an ancestor.
    package var places: [String: String] = [
        "tmux: server": "tmux", "SCREEN": "screen", "screen": "screen", "zellij": "zellij", "cron": "cron",
        "crond": "cron", "anacron": "cron", "atd": "at",
    ]

    package init() {}
}
