import IdleDetector

extension Truth {
    /// The machine of a seed: its length in days and all that happens on it.
    static func machine(seed: UInt64, days: Int) -> Truth {
        var builder = TruthBuilder(seed: seed, length: Millis(days) * .day)
        builder.troubles()
        for day in 0..<days { builder.tell(day: Millis(day)) }
        return builder.finish()
    }
}

extension TruthBuilder {
    private typealias Story = (inout TruthBuilder, Millis) -> Void

    /// What kind of day it is: working days are full, many others are empty.
    fileprivate mutating func tell(day: Millis) {
        let isWeekend = day % 7 >= 5
        let count = random.pick(
            weighted: isWeekend ? [(4, 0), (4, 1), (2, 2)] : [(1, 0), (3, 1), (4, 2), (3, 4), (1, 7)])
        for _ in 0..<count {
            let isAtNight = random.chance(0.15)
            let hour = isAtNight ? random.between(0, 24 * .hour) : random.between(8 * .hour, 19 * .hour)
            let start = max(5 * .minute, day * .day + hour)
            story = start
            random.pick(weighted: Self.stories)(&self, start)
        }
    }

    private static var stories: [(weight: Double, choice: Story)] {
        [
            (4, { $0.sshWork($1) }), (2, { $0.remoteEditor($1) }), (3, { $0.webUI($1) }),
            (1, { $0.glance($1) }),
            (2, { $0.terminalProgram($1) }), (0.5, { $0.scanner($1) }), (0.7, { $0.copy($1) }),
            (0.8, { $0.hold($1) }), (0.1, { $0.marathon($1) }),
            (6, { $0.interactiveClaude($1) }), (2, { $0.silentTurn($1) }), (1.5, { $0.apiWait($1) }),
            (0.7, { $0.hungClaude($1) }), (0.5, { $0.unknownClaude($1) }), (1.5, { $0.killedClaude($1) }),
            (3, { $0.backgroundShell($1) }), (1.5, { $0.subagents($1) }), (2, { $0.wakeUps($1) }),
            (1, { $0.headlessClaude($1) }),
            (1.5, { $0.testRun($1) }), (1, { $0.download($1) }), (1, { $0.otherAgent($1) }),
            (0.8, { $0.cron($1) }),
            (1, { $0.server($1) }), (0.8, { $0.chattyLog($1) }), (0.8, { $0.periodicWriter($1) }),
            (0.5, { $0.operation($1) }), (0.2, { $0.stuckOperation($1) }),
        ]
    }
}
