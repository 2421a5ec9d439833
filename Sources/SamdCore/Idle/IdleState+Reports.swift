import IdleDetector

/// What the state of idle detection tells.
extension IdleState {
    /// For `GET /v1/idle`: a verdict of now.
    package func report() -> IdleReport {
        evaluate()
        let (now, clock) = (effects.now(), effects.clock())
        guard let verdict, let evidence else {
            return IdleReport(
                state: "starting", explanation: "samd has not looked yet; ask again in a moment.",
                at: clock.timestamp(now), settings: settingTexts)
        }
        return IdleReport(verdict, evidence, settings: settingTexts, now: now, clock: clock)
    }

    /// For `GET /v1/status`.
    package func summary() -> IdleSummary {
        guard let verdict else { return IdleSummary(state: "starting", summary: "starting") }
        let clock = effects.clock()
        return IdleSummary(
            state: verdict.state.rawValue, since: clock.timestamp(verdict.since),
            deadline: verdict.deadline.map { clock.timestamp($0) }, claude: verdict.claude.rawValue,
            summary: IdleExplanation.summary(verdict))
    }

    /// The end of a recording of now: where the policy stands, and what it sees.
    func recordingEnd() -> (bytes: [UInt8], at: Moment) {
        evaluate()
        let now = evidence?.at ?? effects.now()
        let header = IdleRecording.line(header(policy.memory, at: now))
        return (header + (evidence.map { IdleRecording.line($0) } ?? []), now)
    }

    /// For `GET /metrics`.
    package func metrics() -> IdleMetrics {
        IdleMetrics(
            verdict: verdict, evidence: evidence, blindTime: blindTime, now: effects.now(),
            clock: effects.clock(), droppedLines: trace?.dropped ?? 0)
    }
}
