import IdleDetector
package import Logging
package import Supervision
import Synchronization

/// What the notifier asks of its surroundings.
package struct NotifierEffects: Sendable {
    package var send: RequestSender
    package var run: CommandStarter
    package var now: @Sendable () -> Present
    /// From 0 to 1.
    package var jitter: @Sendable () -> Double
    /// This machine's name in URLs.
    package var vm: @Sendable () async -> String

    package init(
        send: @escaping RequestSender, run: @escaping CommandStarter,
        now: @escaping @Sendable () -> Present = { .now() },
        jitter: @escaping @Sendable () -> Double = { .random(in: 0...1) },
        vm: @escaping @Sendable () async -> String
    ) {
        self.send = send
        self.run = run
        self.now = now
        self.jitter = jitter
        self.vm = vm
    }
}

/// Tells people: each notification goes out by every configured way, is tried again when that fails, and becomes an event when
/// all tries failed.
///
/// Bounds: `DeliveryQueue.limit` notifications wait per way, one at a time is on its way.
package final class Notifier: SupervisedService {
    /// What became of notifications, as metrics count it.
    package enum Result: String, Sendable, CaseIterable {
        case delivered
        /// Every try failed.
        case failed
        /// Newer ones needed the room.
        case dropped
    }

    /// A counter's labels.
    package struct Count: Hashable, Sendable {
        package var way: NotificationWay
        package var result: Result
    }

    private struct State {
        var settings: Configuration.Notify
        var queues: [NotificationWay: DeliveryQueue] = [:]
        /// Ways that are in the middle of a try.
        var busy: Set<NotificationWay> = []
        /// Ways whose last notification failed for good, and why.
        var broken: [NotificationWay: String] = [:]
        var counts: [Count: UInt64] = [:]
        var isTesting = false
    }

    package let monitor: ServiceMonitor
    private let hostName: String
    private let log: EventLog
    private let logger: Logger
    private let effects: NotifierEffects
    private let state: Mutex<State>
    private let wakeUps: AsyncStream<Void>
    private let wakeUp: AsyncStream<Void>.Continuation

    package init(
        monitor: ServiceMonitor, settings: Configuration.Notify, hostName: String, log: EventLog,
        logger: Logger,
        effects: NotifierEffects
    ) {
        self.monitor = monitor
        self.hostName = hostName
        self.log = log
        self.logger = logger
        self.effects = effects
        state = Mutex(State(settings: settings))
        (wakeUps, wakeUp) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        reportHealth()
    }

    // MARK: For the rest of the daemon

    /// Sends a notification by every way, if its kind is among those that are wanted; returns before that is done.
    ///
    /// - Parameters:
    ///   - title: one line for people.
    ///   - text: sentences for people.
    ///   - data: facts for programs.
    ///   - deadline: when something happens unless somebody acts, RFC 3339.
    package func notify(
        _ kind: NotificationKind, title: String, text: String, data: [String: String] = [:],
        deadline: String? = nil
    ) async {
        submit(await notification(kind, title: title, text: text, data: data, deadline: deadline))
    }

    /// Sends what idle detection wants to be told.
    package func notify(_ request: NotificationRequest) async {
        guard let kind = NotificationKind(rawValue: request.kind.rawValue) else { return }
        await notify(
            kind, title: request.title, text: request.text, data: request.data,
            deadline: request.data["deadline"])
    }

    /// Queues a notification, if its kind is wanted.
    package func submit(_ notification: Notification) {
        let now = effects.now().moment
        let dropped = state.withLock { state in
            guard state.settings.events.contains(notification.kind) else { return [Notification]() }
            return delivery(state.settings).ways.compactMap { way in
                let old = state.queues[way, default: DeliveryQueue()].add(notification, now: now)
                if old != nil { state.counts[Count(way: way, result: .dropped), default: 0] += 1 }
                return old
            }
        }
        for old in dropped { logger.warning("a notification had to go for newer ones: \(old.title)") }
        wakeUp.yield()
    }

    /// A new configuration; what waits goes to where that says.
    package func reconfigure(_ settings: Configuration.Notify) {
        state.withLock { state in
            guard state.settings != settings else { return }
            state.settings = settings
            state.broken = [:]
            let ways = delivery(settings).ways
            for way in NotificationWay.allCases where !ways.contains(way) { state.queues[way] = nil }
        }
        reportHealth()
    }

    /// What became of notifications since the daemon started.
    package func counts() -> [Count: UInt64] { state.withLock { $0.counts } }

    /// Sends a test by every way, once and now, whatever waits.
    package func test() async throws(ProblemDetails) -> NotifyTestReport {
        let delivery = delivery(state.withLock { $0.settings })
        guard !delivery.ways.isEmpty else { throw NotifyProblems.noWay }
        let mayTest = state.withLock { state in
            defer { state.isTesting = true }
            return !state.isTesting
        }
        guard mayTest else { throw NotifyProblems.testUnderWay }
        defer { state.withLock { $0.isTesting = false } }
        let notification = await notification(
            .test, title: "Test of samd on this machine",
            text: "Somebody asked samd to send a test. Notifications reach you by this way.")
        return await withTaskGroup(of: NotifyTestReport.Result.self) { group in
            for way in delivery.ways {
                group.addTask {
                    Self.result(
                        await delivery.deliver(notification, by: way), way, target: delivery.target(of: way))
                }
            }
            var results: [NotifyTestReport.Result] = []
            for await result in group { results.append(result) }
            return NotifyTestReport(results: results.sorted { $0.way > $1.way })
        }
    }

    // MARK: Delivering

    package func run() async throws {
        await withDiscardingTaskGroup { group in
            group.addTask { [wakeUp] in
                while (try? await Task.sleep(for: Heartbeat.interval, clock: .suspending)) != nil {
                    wakeUp.yield()
                }
            }
            for await _ in wakeUps {
                monitor.progressed()
                startDue(in: &group)
            }
        }
    }

    /// Tries whatever is due, until nothing is.
    func deliverDue() async {
        while state.withLock({
            $0.queues.values.contains { $0.waiting.contains { $0.dueAt <= effects.now().moment } }
        }) {
            await withDiscardingTaskGroup { startDue(in: &$0) }
        }
    }

    private func startDue(in group: inout DiscardingTaskGroup) {
        let now = effects.now().moment
        let due = state.withLock { state in
            NotificationWay.allCases.compactMap { way -> (NotificationWay, DeliveryQueue.Entry)? in
                guard !state.busy.contains(way), let entry = state.queues[way]?.takeDue(now: now) else {
                    return nil
                }
                state.busy.insert(way)
                return (way, entry)
            }
        }
        for (way, entry) in due { group.addTask { await self.attempt(entry, by: way) } }
    }

    private func attempt(_ entry: DeliveryQueue.Entry, by way: NotificationWay) async {
        let delivery = delivery(state.withLock { $0.settings })
        var entry = entry
        entry.tries += 1
        let outcome = await delivery.deliver(entry.notification, by: way)
        let target = delivery.target(of: way)
        switch outcome {
        case .delivered(let detail):
            finish(way, .delivered, broken: nil)
            logger.debug("\(entry.notification.kind.rawValue) was delivered by \(way.rawValue): \(detail)")
        case .failed(let reason, let hint, let isFinal):
            let (now, jitter) = (effects.now().moment, effects.jitter())
            let isTriedAgain = state.withLock { state in
                !isFinal
                    && state.queues[way, default: DeliveryQueue()].retry(entry, now: now, jitter: jitter)
            }
            logger.debug("\(entry.notification.kind.rawValue) failed by \(way.rawValue): \(reason)")
            if isTriedAgain {
                state.withLock { _ = $0.busy.remove(way) }
            } else {
                finish(way, .failed, broken: reason)
                tell(entry, way, target: target, reason: reason, hint: hint)
            }
        case .cancelled:
            state.withLock { _ = $0.busy.remove(way) }
        }
        wakeUp.yield()
    }

    private func finish(_ way: NotificationWay, _ result: Result, broken: String?) {
        state.withLock { state in
            state.busy.remove(way)
            state.counts[Count(way: way, result: result), default: 0] += 1
            state.broken[way] = broken
        }
        reportHealth()
    }

    private func tell(
        _ entry: DeliveryQueue.Entry, _ way: NotificationWay, target: String, reason: String, hint: String?
    ) {
        log.record(
            .notifyFailed, level: .error,
            "\"\(entry.notification.title)\" could not be delivered by \(way.rawValue) to \(target) in \(entry.tries) "
                + "\(entry.tries == 1 ? "try" : "tries"): \(reason)",
            [
                "way": way.rawValue, "target": target, "notification": entry.notification.kind.rawValue,
                "title": entry.notification.title, "tries": "\(entry.tries)", "reason": reason,
                "hint": hint ?? "",
            ])
    }

    private func reportHealth() {
        let (ways, broken) = state.withLock { (delivery($0.settings).ways, $0.broken) }
        if let (way, reason) = broken.min(by: { $0.key.rawValue < $1.key.rawValue }) {
            monitor.report(
                .degraded(reason: "\(way.rawValue): \(reason)", hint: "mend [notify], then: samd notify test")
            )
        } else {
            let names = ways.map(\.rawValue).joined(separator: ", ")
            monitor.report(.ok(detail: ways.isEmpty ? "nobody is told: [notify] is empty" : names))
        }
    }

    // MARK: Parts

    private func delivery(_ settings: Configuration.Notify) -> NotificationDelivery {
        NotificationDelivery(settings: settings, send: effects.send, run: effects.run)
    }

    private func notification(
        _ kind: NotificationKind, title: String, text: String, data: [String: String] = [:],
        deadline: String? = nil
    ) async -> Notification {
        let id = String((0..<16).map { _ in "0123456789abcdef".randomElement() ?? "0" })
        return Notification(
            id: id, kind: kind, vm: await effects.vm(), host: hostName, time: effects.now().wall,
            title: title,
            text: text, data: data, deadline: deadline)
    }

    private static func result(
        _ outcome: DeliveryOutcome, _ way: NotificationWay, target: String
    ) -> NotifyTestReport.Result {
        switch outcome {
        case .delivered(let detail):
            .init(way: way.rawValue, target: target, delivered: true, detail: detail)
        case .failed(let reason, let hint, _):
            .init(
                way: way.rawValue, target: target, delivered: false,
                detail: hint.map { "\(reason); \($0)" } ?? reason)
        case .cancelled: .init(way: way.rawValue, target: target, delivered: false, detail: "samd stops")
        }
    }
}

/// Why a test is refused, as the local API says it.
enum NotifyProblems {
    static var noWay: ProblemDetails {
        ProblemDetails(
            "not-configured", status: 409, title: "Nobody is told",
            detail: "neither notify.webhook nor notify.command is set",
            hint: "set one under [notify] of /etc/samd/samd.toml, then: systemctl reload samd")
    }

    static var testUnderWay: ProblemDetails {
        ProblemDetails(
            "busy", status: 409, title: "A test is under way", detail: "another test has not ended yet",
            hint: "try again in half a minute")
    }
}
