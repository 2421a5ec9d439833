/// Lists that settings of idle detection begin with.
package enum IdleDefaults {
    /// Folders in which a workspace usually is.
    package static let folders = ["/workspace", "/workspaces"]

    /// Names of files and folders whose changes say nothing about a person: version control, caches, what builds write, logs.
    package static let filesExclude = [
        ".git", ".hg", ".svn", "node_modules", ".cache", "__pycache__", ".venv", "venv", ".tox",
        ".mypy_cache",
        ".pytest_cache", ".ruff_cache", "target", "build", "dist", "out", ".build", ".next", ".nuxt",
        ".turbo",
        ".parcel-cache", ".gradle", ".terraform", "coverage", "*.log", "*.tmp", "*.swp", "*.swx", "*~",
        "*.pyc",
        "*.pid", "*.lock", "*.sqlite-wal", "*.sqlite-shm", "*.db-wal", "*.db-shm",
    ]

    /// Programs that run as long as the machine does, by their kernel names (comm): never anybody's job.
    package static let ignoreProcesses = [
        "(sd-pam)", "at-spi2-registr", "dbus-broker", "dbus-broker-lau", "dbus-daemon", "gpg-agent", "init",
        "pipewire", "screen", "ssh-agent", "sshd", "sshd-session", "systemd", "tini", "docker-init",
        "dumb-init",
        "tmux: client", "tmux: server", "wireplumber", "Xvfb",
    ]
}
