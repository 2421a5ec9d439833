/// Why a change of a port is refused, as the local API says it.
enum PortProblems {
    static func unknown(_ name: String) -> ProblemDetails {
        ProblemDetails(
            "no-such-port", status: 404, title: "No such port",
            detail: "nothing listens under the name \"\(name.prefix(80))\"",
            hint: "start the server first; `samd ports` lists what listens, with names")
    }

    static func gone(_ name: String) -> ProblemDetails {
        ProblemDetails(
            "no-such-port", status: 404, title: "No such port",
            detail: "what was set for \"\(name.prefix(80))\" is kept, but nothing listens there any more",
            hint: "start the server again")
    }

    static func publicIsForbidden(_ name: String) -> ProblemDetails {
        ProblemDetails(
            "policy", status: 403, title: "Not allowed by policy",
            detail: "port \(name) may not be public: ports.allow_public is false",
            hint: "share the web password instead (samd password), or ask whoever runs this machine")
    }

    static func setByRoot(_ name: String) -> ProblemDetails {
        ProblemDetails(
            "policy", status: 403, title: "Not allowed by policy",
            detail: "root decided about port \(name), and only root may widen that", hint: "ask with sudo")
    }

    static func refused(_ name: String, _ refusal: Refusal) -> ProblemDetails {
        ProblemDetails(
            "policy", status: 403, title: "Not allowed by policy",
            detail: "port \(name) cannot be published: \(refusal.reason)", hint: refusal.hint)
    }

    static var tooMany: ProblemDetails {
        ProblemDetails(
            "too-many", status: 503, title: "Too many settings",
            detail: "\(PortOverrides.limit) ports have settings of their own",
            hint: "take some back: samd ports set NAME --reset")
    }

    static func notSaved(_ error: any Error) -> ProblemDetails {
        ProblemDetails(
            "not-saved", status: 500, title: "Not saved", detail: "nothing was changed: \(error)",
            hint: "is the disk full, or read-only? See daemon.state_dir")
    }
}
