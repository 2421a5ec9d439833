/// What a signal says, in a few words.
enum SignalWords {
    static func text(_ signal: Signal) -> String {
        let what = signal.subject
        let detail = signal.detail.map { ": \($0)" } ?? ""
        return switch signal.kind {
        case .claudeBusy: "Claude works (\(what))"
        case .claudeShell: "a background task of Claude runs (\(what))"
        case .claudeAsking: "Claude asks its user (\(what))\(detail)"
        case .claudePrompt: "Claude is at its prompt (\(what))"
        case .claudeUnknown: "what Claude does cannot be told (\(what))\(detail)"
        case .tool: "a tool of Claude runs: \(what)"
        case .orphan: "a tool that outlived its Claude runs: \(what)"
        case .wakeUp: "Claude goes on by itself: \(what)"
        case .agent: "agent \(what)"
        case .job: "job \(what)"
        case .terminal: "input on \(what)"
        case .terminalPane: "terminal pane \(what)"
        case .ssh: "SSH session \(what)"
        case .transfer: "transfer over SSH: \(what)"
        case .webPerson: "a person in the browser: \(what)"
        case .webBackground: "background requests: \(what)"
        case .files: "changed files: \(what)\(detail)"
        case .hold: "hold \(what)\(detail)"
        case .operation: "samd itself: \(what)\(detail)"
        case .interrupted: "work was interrupted by a reboot: \(what)"
        }
    }

    /// The same once it is over, as the last thing that happened.
    static func past(_ signal: Signal) -> String {
        let what = signal.subject
        return switch signal.kind {
        case .claudeBusy: "Claude worked (\(what))"
        case .claudeShell: "a background task of Claude ran (\(what))"
        case .claudeAsking, .claudePrompt: "Claude was there (\(what))"
        case .tool, .orphan: "a tool of Claude ran: \(what)"
        case .wakeUp: "Claude was to go on by itself: \(what)"
        default: text(signal)
        }
    }
}
