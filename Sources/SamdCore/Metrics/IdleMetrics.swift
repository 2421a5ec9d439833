package import IdleDetector

/// What `GET /metrics` tells of idle detection. Pure.
package struct IdleMetrics: Sendable {
    package var verdict: IdleVerdict?
    package var evidence: ActivitySnapshot?
    package var blindTime: [String: Duration]
    package var now: Moment
    package var clock: WallClock
    /// Lines that the flight recorder could not keep.
    package var droppedLines: UInt64

    package var families: [MetricFamily] {
        guard let verdict, let evidence else { return [] }
        return states(verdict) + evidenceFamilies(verdict, evidence)
    }

    private func states(_ verdict: IdleVerdict) -> [MetricFamily] {
        let last = verdict.lastActivity
        let age = verdict.holding.isEmpty ? now - (last.changedAt ?? last.since) : .zero
        return [
            MetricFamily(
                "samd_idle_state", .gauge, "1 for the state that the machine is in.",
                IdleVerdict.State.allCases.map {
                    .init(verdict.state == $0 ? 1 : 0, ["state": $0.rawValue])
                }),
            MetricFamily(
                "samd_idle_seconds_since_activity", .gauge,
                "Time since the last activity; 0 while something holds the machine.",
                [.init(max(0, age.inSeconds))]),
            MetricFamily(
                "samd_idle_deadline_seconds", .gauge,
                "When the machine becomes idle if nothing changes, in seconds since 1970; absent when it does not.",
                verdict.deadline.map { [.init(clock.seconds($0).rounded())] } ?? []),
        ]
    }

    private func evidenceFamilies(_ verdict: IdleVerdict, _ evidence: ActivitySnapshot) -> [MetricFamily] {
        let holding = Dictionary(grouping: verdict.holding) { $0.kind?.rawValue ?? "probe" }
        let ignored = Dictionary(grouping: verdict.ignored, by: \.kind.rawValue)
        let alarms = Dictionary(grouping: verdict.alarms, by: \.kind)
        let sessions = Dictionary(
            grouping: evidence.signals.filter { $0.kind.isClaudeSession },
            by: { IdleAnnouncements.word($0.kind) })
        let kinds = Signal.Kind.allCases.map(\.rawValue)
        return [
            MetricFamily(
                "samd_idle_holding", .gauge, "What holds the machine, by kind; probe: one that cannot look.",
                (kinds + ["probe"]).map { .init(Double(holding[$0]?.count ?? 0), ["kind": $0]) }),
            MetricFamily(
                "samd_idle_ignored", .gauge, "Signals that do not count, by kind.",
                kinds.map { .init(Double(ignored[$0]?.count ?? 0), ["kind": $0]) }),
            MetricFamily(
                "samd_idle_alarms", .gauge, "Alarms that stand.",
                IdleVerdict.Alarm.Kind.allCases.map {
                    .init(Double(alarms[$0]?.count ?? 0), ["kind": $0.rawValue])
                }),
            MetricFamily(
                "samd_idle_probe_blind_seconds_total", .counter, "Time in which a probe could not look.",
                Set(evidence.probes.map(\.name)).union(blindTime.keys).sorted().map {
                    .init((blindTime[$0] ?? .zero).inSeconds, ["probe": $0])
                }),
            MetricFamily(
                "samd_claude_sessions", .gauge, "Claude sessions, by what they do.",
                ["works", "asks", "prompt", "unknown"].map {
                    .init(Double(sessions[$0]?.count ?? 0), ["state": $0])
                }),
            MetricFamily(
                "samd_idle_trace_dropped_total", .counter,
                "Lines of the flight recorder that could not be kept.", [.init(Double(droppedLines))]),
        ]
    }
}
