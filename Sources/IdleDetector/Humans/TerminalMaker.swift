/// Who made a terminal, as far as that decides where its user types: pure.
///
/// The rule: a terminal counts unless it is known that whoever types there is seen at another terminal. Not knowing costs at
/// most a machine kept too long (input without a pause is a program's, the policy says), while the reverse would end a
/// machine under somebody's hands. Thus counted, each as its own terminal:
///   - sshd, mosh-server, login: the user's own;
///   - docker exec, podman, nspawn, machinectl: made by containerd-shim, conmon and the like, which have no terminal;
///   - VS Code's ptyHost (`node`), ttyd, wetty, JupyterLab, wezterm-mux-server: their users come over the network, even where
///     the server itself was started by hand in a terminal.
package enum TerminalMaker {
    /// Their panes live on without a user; a user types at the client, whose own terminal shows it.
    private static let multiplexers: Set<String> = [
        "abduco", "atch", "byobu", "dtach", "dvtm", "mtm", "screen", "shpool", "tmate", "tmux", "zellij",
    ]
    /// Make up the input, or pass on that of their own terminal (`interact`).
    private static let drivers: Set<String> = ["expect", "unbuffer"]
    /// Pass on what is typed at the terminal they have; without one (`ssh host script …`) a user may be at the other end of
    /// their standard input. sudo makes terminals since 1.9.14 (`use_pty`).
    private static let relays: Set<String> = ["doas", "script", "scriptlive", "su", "sudo"]
    /// Wait on a console for somebody to log in: what arrives there is noise of the line, or a guess at a password.
    private static let gettys: Set<String> = ["agetty", "getty", "login", "mgetty", "mingetty", "sulogin"]

    /// Why a terminal's input is seen elsewhere; nil: it counts.
    ///
    /// - Parameters:
    ///   - name: the name (comm) of the parent of the session's leader.
    ///   - hasTerminal: whether that process has a controlling terminal itself.
    package static func reasonNotToCount(maker name: String, hasTerminal: Bool) -> String? {
        // "tmux: server" is what tmux names its server; GNU screen's is `screen` whatever its arguments say.
        let program = name.prefix { $0 != ":" && $0 != " " }.lowercased()
        if multiplexers.contains(program) {
            return "a pane of \(program): who types is at its client's terminal"
        }
        if drivers.contains(program) { return "\(program) types here" }
        if hasTerminal, relays.contains(program) { return "\(program) passes on what its own terminal gets" }
        return nil
    }

    /// Whether a session's leader waits for a login, so that nobody uses the terminal yet.
    package static func awaitsLogin(leader name: String, uid: UInt32) -> Bool {
        uid == 0 && gettys.contains(name)
    }
}
