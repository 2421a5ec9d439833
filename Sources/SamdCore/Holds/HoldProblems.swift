/// Why a hold is refused, as the local API says it.
enum HoldProblems {
    static func tooLong(_ duration: Duration, cap: Duration) -> ProblemDetails {
        ProblemDetails(
            "hold-too-long", status: 400, title: "Too long",
            detail:
                "\(DurationText.render(duration)) is more than a hold may last: \(DurationText.render(cap))",
            hint: "ask for less, and again before it ends; idle.hold_cap is the bound")
    }

    static func noProcess(_ holder: Holder) -> ProblemDetails {
        ProblemDetails(
            "no-such-process", status: 409, title: "No such process",
            detail: "the process that asks (pid \(holder.pid)) is gone or cannot be seen",
            hint: "ask for a duration instead: {\"seconds\": 7200}")
    }

    static var tooMany: ProblemDetails {
        ProblemDetails(
            "too-many", status: 503, title: "Too many holds",
            detail: "there are \(Holds.limit) holds already",
            hint: "end some: samd holds, then samd release ID")
    }

    static func tooMany(of holder: Holder) -> ProblemDetails {
        ProblemDetails(
            "too-many", status: 429, title: "Too many holds",
            detail: "\(holder.user ?? "uid \(holder.uid)") has \(Holds.limitPerUser) holds already",
            hint: "end some: samd holds, then samd release ID")
    }

    static func unknown(_ id: String) -> ProblemDetails {
        ProblemDetails(
            "no-such-hold", status: 404, title: "No such hold",
            detail:
                "there is no hold \"\(PlainText.cleaned(id, limitBytes: 40))\"; perhaps it is over already",
            hint: "samd holds lists them")
    }

    static func notTheirs(_ hold: Hold, _ holder: Holder) -> ProblemDetails {
        ProblemDetails(
            "forbidden", status: 403, title: "Not allowed",
            detail: "hold \(hold.id) was taken by \(hold.by.name), and \(holder.name) asks to end it",
            hint:
                "ask as who took it, or on the machine itself as root, a workspace owner or a member of samd")
    }

    static func notSaved(_ error: any Error) -> ProblemDetails {
        ProblemDetails(
            "not-saved", status: 500, title: "Not saved", detail: "nothing was changed: \(error)",
            hint: "is the disk full, or read-only? See daemon.state_dir")
    }
}
