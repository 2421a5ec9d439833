import Testing

@testable import IdleDetector

@Suite("What a process looks like")
struct ProcessTraitsTests {
    private func traits(_ name: String, _ command: [String], _ variables: [String?] = []) -> ProcessTraits {
        ProcessTraits(name: name, command: command, variables: variables, catalogue: ProcessCatalogue())
    }

    @Test(
        "a shell without script and commands waits for a person",
        arguments: [
            ("bash", ["-bash"]), ("bash", ["bash", "-l"]), ("zsh", ["zsh", "-il"]), ("sh", ["sh"]),
            ("fish", ["fish"]),
            ("bash", ["bash", "--init-file", "/x/shellIntegration-bash.sh"]),
            ("bash", ["bash", "--login", "-i"]),
            ("bash", ["/bin/bash", "-o", "vi"]), ("bash", []),
        ] as [(String, [String])])
    func interactive(name: String, command: [String]) {
        let traits = traits(name, command)
        #expect(traits.isShell && traits.isInteractive)
    }

    @Test(
        "a shell that runs a script or commands works",
        arguments: [
            ("bash", ["bash", "build.sh"]), ("sh", ["sh", "-c", "make"]), ("bash", ["bash", "-lc", "make"]),
            ("zsh", ["zsh", "-o", "vi", "./x"]),
            ("bash", ["/bin/bash", "-c", "source snapshot.sh && eval 'x'"]),
        ] as [(String, [String])])
    func script(name: String, command: [String]) {
        let traits = traits(name, command)
        #expect(traits.isShell && !traits.isInteractive)
    }

    @Test(
        "agents are known by their name, or by the script that an interpreter runs",
        arguments: [
            ("codex", ["codex"], "codex"), ("node", ["node", "/usr/lib/bin/codex", "x"], "codex"),
            ("MainThread", ["node", "--no-warnings", "/home/dev/.npm/bin/gemini"], "gemini"),
            ("python3.12", ["/usr/bin/python3", "/home/dev/.local/bin/aider"], "aider"),
            ("python3", ["python3", "-m", "openhands"], "openhands"), ("aider", [], "aider"),
            ("goose", ["goose", "session"], "goose"), ("node", ["node", "/srv/codex"], nil),
            ("vim", ["vim", "/usr/bin/codex"], nil), ("node", ["node", "/usr/bin/codexx"], nil),
            ("node", ["node", "-m"], nil), ("node", [], nil),
        ] as [(String, [String], String?)])
    func agents(name: String, command: [String], agent: String?) {
        #expect(traits(name, command).agent.map { ProcessCatalogue().agents[$0].name } == agent)
    }

    @Test(
        "furniture and the servers of file transfers are no work",
        arguments: [
            ("sshd-session", ["sshd-session: dev@pts/0"]), ("tmux: server", ["tmux"]), ("(sd-pam)", []),
            ("node", ["/home/dev/.vscode-server/bin/1a/node", "out/server-main.js"]),
            ("node", ["node", "/usr/lib/code-server/out/node/entry"]),
            ("code-tunnel", ["/usr/bin/code-tunnel"]),
            ("java", ["/home/dev/.cache/JetBrains/RemoteDev/dist/x/jbr/bin/java"]),
        ] as [(String, [String])])
    func ignored(name: String, command: [String]) {
        #expect(traits(name, command).isIgnored)
    }

    @Test("a shell of an editor's terminal and a server of one's own are not furniture")
    func notIgnored() {
        #expect(!traits("bash", ["bash", "--init-file", "/home/dev/.vscode-server/x.sh"]).isIgnored)
        #expect(!traits("node", ["node", "server.js", "/.vscode-server/"]).isIgnored)
        #expect(!traits("make", ["make"]).isIgnored)
    }

    @Test("the server's side of transfers over SSH is another probe's")
    func transfers() {
        #expect(traits("rsync", ["rsync", "--server", "--sender", "."]).isTransfer)
        #expect(traits("scp", ["scp", "-t", "/x"]).isTransfer && traits("sftp-server", []).isTransfer)
        #expect(
            !traits("rsync", ["rsync", "-a", "x", "host:"]).isTransfer
                && !traits("scp", ["scp", "a", "b:"]).isTransfer)
    }

    @Test("Claude's marker is its own value, with or without a pid")
    func marker() {
        #expect(traits("x", [], ["1", "42"]).marker == ProcessTraits.ClaudeMarker(pid: 42))
        #expect(traits("x", [], ["1", nil]).marker == ProcessTraits.ClaudeMarker(pid: nil))
        #expect(traits("x", [], ["1", "-1"]).marker == ProcessTraits.ClaudeMarker(pid: nil))
        for variables in [[], [nil, "42"], ["0", "42"], ["11", nil], ["", nil]] as [[String?]] {
            #expect(traits("x", [], variables).marker == nil)
        }
    }
}
