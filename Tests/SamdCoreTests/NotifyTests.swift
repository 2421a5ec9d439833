import FoundationEssentials
import Glibc
import HTTPClient
import IdleDetector
import Logging
import Supervision
import Synchronization
import Testing

@testable import SamdCore
@testable import TestSupport

private typealias Message = SamdCore.Notification

/// A notifier with a clock of the test's own; webhooks and commands are real.
private final class NotifierFixture: Sendable {
    let log: EventLog
    let logged = LogRecorder()
    let monitor = ServiceMonitor(name: "notify")
    let notifier: Notifier
    private let clock: Clock

    private final class Clock: Sendable {
        let present = Mutex(Present(moment: .boot, wall: Date(timeIntervalSince1970: 0)))
    }

    init(
        webhook: String = "", command: [String] = [], events: [NotificationKind] = [.waiting],
        commandLimit: Duration = .seconds(30)
    ) {
        let (clock, http, logged) = (Clock(), HTTPClient(), logged)
        self.clock = clock
        let logger = Logger(label: "test") { _ in logged }
        log = EventLog(logger: logger)
        notifier = Notifier(
            monitor: monitor, settings: .init(webhook: webhook, command: command, events: events),
            hostName: "host1", log: log, logger: logger,
            effects: NotifierEffects(
                send: { (request) async throws(HTTPClientError) in try await http.stream(request).head.status
                },
                run: { await CommandRunner(limit: commandLimit).run($0, input: $1) },
                now: { clock.present.withLock { $0 } }, jitter: { 0.5 }, vm: { "vm1" }))
    }

    func advance(_ duration: Duration) {
        clock.present.withLock { $0.moment = $0.moment + duration }
    }

    func notify(_ kind: NotificationKind = .waiting, title: String = "Claude asks") async {
        await notifier.notify(kind, title: title, text: "It asks whether it may.", data: ["session": "1"])
    }

    /// The count of one result.
    func count(_ way: NotificationWay, _ result: Notifier.Result) -> UInt64 {
        notifier.counts()[Notifier.Count(way: way, result: result)] ?? 0
    }

    var failures: [DaemonEvent] { log.events(after: 0).filter { $0.type == "notify.failed" } }
}

/// Everything that was logged, as text.
private final class LogRecorder: LogHandler, Sendable {
    private let lines = Mutex<[String]>([])
    var text: String { lines.withLock { $0.joined(separator: "\n") } }
    var logLevel: Logger.Level {
        get { .trace }
        set { _ = newValue }
    }
    var metadata: Logger.Metadata {
        get { [:] }
        set { _ = newValue }
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { nil }
        set { _ = (key, newValue) }
    }
    func log(event: LogEvent) { lines.withLock { $0.append("\(event.message) \(event.metadata ?? [:])") } }
}

/// The requests that a server got.
private final class Requests: Sendable {
    private let all = Mutex<[Connection.Request]>([])
    var count: Int { all.withLock { $0.count } }
    var bodies: [Message] {
        all.withLock { $0.compactMap { try? JSONDecoder().decode(Message.self, from: Data($0.body)) } }
    }
    var heads: [String] { all.withLock { $0.map(\.head) } }
    /// Adds one and tells the how manieth it is.
    func add(_ request: Connection.Request) -> Int {
        all.withLock {
            $0.append(request)
            return $0.count
        }
    }
}

@Suite struct WebhookTests {
    /// A server that answers the first requests with these statuses, and the others with 200.
    private func server(_ statuses: [Int], _ requests: Requests) throws -> TestServer {
        try TestServer { connection in
            let number = requests.add(try connection.readRequest())
            try connection.respond(number <= statuses.count ? statuses[number - 1] : 200)
        }
    }

    @Test func `a notification is posted as JSON with everything that is known`() async throws {
        let requests = Requests()
        let server = try server([], requests)
        defer { server.stop() }
        let fixture = NotifierFixture(webhook: "\(server.url)/hook?key=secret")
        await fixture.notifier.notify(
            .waiting, title: "Claude\nasks", text: "first\nsecond\u{1B}", data: ["session": "1"],
            deadline: "1970-01-01T00:01:00.000Z")
        await fixture.notifier.deliverDue()
        let body = try #require(requests.bodies.first)
        #expect(body.kind == .waiting && body.vm == "vm1" && body.host == "host1" && !body.id.isEmpty)
        #expect(body.title == "Claude asks" && body.text == "first\nsecond" && body.data == ["session": "1"])
        #expect(body.time == "1970-01-01T00:00:00.000Z" && body.deadline == "1970-01-01T00:01:00.000Z")
        let head = try #require(requests.heads.first)
        #expect(
            head.hasPrefix("POST /hook?key=secret HTTP/1.1\r\n")
                && head.contains("Content-Type: application/json"))
        #expect(fixture.count(.webhook, .delivered) == 1 && fixture.failures.isEmpty)
        #expect(!fixture.logged.text.contains("secret"))
    }

    @Test func `what fails is tried again later, with the same id, until it is taken`() async throws {
        let requests = Requests()
        let server = try server([500, 429], requests)
        defer { server.stop() }
        let fixture = NotifierFixture(webhook: server.url)
        await fixture.notify()
        await fixture.notifier.deliverDue()
        #expect(requests.count == 1)
        fixture.advance(.seconds(9))
        await fixture.notifier.deliverDue()
        #expect(requests.count == 1, "the pause is not over")
        fixture.advance(.seconds(1))
        await fixture.notifier.deliverDue()
        fixture.advance(.seconds(45))
        await fixture.notifier.deliverDue()
        #expect(requests.count == 3 && Set(requests.bodies.map(\.id)).count == 1)
        #expect(fixture.count(.webhook, .delivered) == 1 && fixture.count(.webhook, .failed) == 0)
    }

    @Test func `after five tries in about ten minutes it is an event, without the secret`() async throws {
        let requests = Requests()
        let server = try server(Array(repeating: 503, count: 9), requests)
        defer { server.stop() }
        let fixture = NotifierFixture(webhook: server.url + "/services/t0psecret")
        await fixture.notify()
        for _ in 0..<12 {
            await fixture.notifier.deliverDue()
            fixture.advance(.seconds(60))
        }
        #expect(requests.count == DeliveryQueue.tryLimit)
        let event = try #require(fixture.failures.first)
        #expect(
            fixture.failures.count == 1 && event.data["reason"] == "HTTP 503" && event.data["tries"] == "5")
        #expect(event.data["target"] == server.url && event.data["way"] == "webhook")
        #expect(fixture.monitor.snapshot().health.isDegraded)
        #expect(!fixture.logged.text.contains("t0psecret") && !"\(event)".contains("t0psecret"))
        await fixture.notify()
        for _ in 0..<12 {
            await fixture.notifier.deliverDue()
            fixture.advance(.seconds(60))
        }
        #expect(!fixture.monitor.snapshot().health.isDegraded, "a later success shows that it works again")
    }

    @Test(arguments: [404, 410, 301])
    func `what would fail again is not tried again`(status: Int) async throws {
        let requests = Requests()
        let server = try server([status], requests)
        defer { server.stop() }
        let fixture = NotifierFixture(webhook: server.url)
        await fixture.notify()
        await fixture.notifier.deliverDue()
        #expect(fixture.failures.first?.data["reason"]?.contains("HTTP \(status)") == true)
        fixture.advance(.seconds(3600))
        await fixture.notifier.deliverDue()
        #expect(requests.count == 1)
    }

    @Test func `nobody listening is a failure that names the place and not the secret`() async throws {
        let server = try TestServer { _ in }
        server.stop()
        let fixture = NotifierFixture(webhook: "http://user:pass@127.0.0.1:\(server.port)/t0psecret")
        let report = try await fixture.notifier.test()
        let result = try #require(report.results.first)
        #expect(!result.delivered && result.target == "http://127.0.0.1:\(server.port)")
        #expect(!"\(report)".contains("t0psecret") && !"\(report)".contains("pass"))
    }

    @Test func `newer notifications do not wait for older ones that fail`() async throws {
        let requests = Requests()
        let server = try server([500], requests)
        defer { server.stop() }
        let fixture = NotifierFixture(webhook: server.url)
        await fixture.notify(title: "old")
        await fixture.notifier.deliverDue()
        await fixture.notify(title: "new")
        await fixture.notifier.deliverDue()
        #expect(requests.bodies.map(\.title) == ["old", "new"])
        fixture.advance(.seconds(10))
        await fixture.notifier.deliverDue()
        #expect(requests.bodies.map(\.title) == ["old", "new", "old"])
    }

    @Test func `a slow server does not hold up commands`() async throws {
        let folder = try TemporaryTree()
        let (asked, answer) = (Signal(), Signal())
        let gate = ThreadGate(answer)
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            asked.fire()
            gate.wait()
            try connection.respond()
        }
        defer { server.stop() }
        let fixture = NotifierFixture(
            webhook: server.url, command: ["/bin/sh", "-c", "cat > \(folder.root)/out"])
        let service = Task { try await fixture.notifier.run() }
        await fixture.notify()
        await asked.wait()
        while fixture.count(.command, .delivered) == 0 { await Task.yield() }
        #expect(fixture.count(.webhook, .delivered) == 0)
        answer.fire()
        while fixture.count(.webhook, .delivered) == 0 { await Task.yield() }
        service.cancel()
        try await service.value
    }

    @Test func `stopping the service ends what is under way and is nobody's failure`() async throws {
        let asked = Signal()
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            asked.fire()
            connection.waitForEnd()
        }
        defer { server.stop() }
        let fixture = NotifierFixture(webhook: server.url)
        let service = Task { try await fixture.notifier.run() }
        await fixture.notify()
        await asked.wait()
        service.cancel()
        try await service.value
        #expect(fixture.failures.isEmpty && fixture.notifier.counts().isEmpty)
    }

    @Test func `the URL may stand in a file that nobody else can read`() async throws {
        let requests = Requests()
        let server = try server([], requests)
        defer { server.stop() }
        let folder = try TemporaryTree()
        try folder.write("\(server.url)/t0psecret\n", to: "hook")
        let path = "\(folder.root)/hook"
        let fixture = NotifierFixture(webhook: path)
        let open = try #require(try await fixture.notifier.test().results.first)
        #expect(!open.delivered && open.detail.contains("chmod 600") && open.target == path)
        chmod(path, 0o600)
        let closed = try #require(try await fixture.notifier.test().results.first)
        #expect(closed.delivered && closed.target == server.url && requests.heads.count == 1)
        symlink(path, "\(folder.root)/link")
        let link = NotifierFixture(webhook: "\(folder.root)/link")
        #expect(try await link.notifier.test().results.first?.delivered == false)
        try folder.write("nonsense t0psecret", to: "hook")
        let nonsense = try #require(try await fixture.notifier.test().results.first)
        #expect(nonsense.detail.contains("does not hold one URL") && !nonsense.detail.contains("t0psecret"))
    }
}

@Suite struct WebhookAddressTests {
    @Test(arguments: [
        "https://hooks.example.com/a/b?c=d": "https://hooks.example.com",
        "https://user:pass@hooks.example.com:8443/": "https://hooks.example.com:8443",
        "http://localhost:9000/x": "http://localhost:9000",
        "http://127.0.0.1/x": "http://127.0.0.1",
        "HTTP://[::1]:80/x": "http://[::1]:80",
    ])
    func `of an address only scheme and host are shown`(url: String, shown: String) {
        #expect(WebhookAddress(url)?.shown == shown)
    }

    @Test(arguments: [
        "", "hooks.example.com", "ftp://example.com/", "http://example.com/", "http://127.0.0.1@example.com/",
        "http://localhost\\@example.com/", "http://localhost.example.com/", "https://", "https:///x",
        "https://a b/", "https://exämple.com/", "https://example.com:0/", "https://example.com:x/",
        "http://[::1]x/", "https://example.com/\n",
    ])
    func `clear text to elsewhere and what is no URL are refused`(url: String) {
        #expect(WebhookAddress(url) == nil)
    }
}

@Suite struct NotifyCommandTests {
    @Test func `a command reads the JSON in a small environment`() async throws {
        let folder = try TemporaryTree()
        let fixture = NotifierFixture(
            command: ["/bin/sh", "-c", "cat > \(folder.root)/out; env | sort > \(folder.root)/env"])
        await fixture.notify()
        await fixture.notifier.deliverDue()
        #expect(fixture.count(.command, .delivered) == 1)
        let bytes = try BoundedFile.read("\(folder.root)/out", limit: 1 << 16)
        #expect(try JSONDecoder().decode(Message.self, from: Data(bytes)).title == "Claude asks")
        let environment = String(
            decoding: try BoundedFile.read("\(folder.root)/env", limit: 1 << 16), as: UTF8.self)
        let names = environment.split(separator: "\n").map { String($0.prefix { $0 != "=" }) }
        #expect(Set(names).subtracting(["PWD", "SHLVL", "_"]) == ["LANG", "PATH"])
    }

    @Test func `a command's exit status counts, and what is no program is said at once`() async throws {
        let failing = NotifierFixture(command: ["/bin/sh", "-c", "exit 3"])
        await failing.notify()
        for _ in 0..<12 {
            await failing.notifier.deliverDue()
            failing.advance(.seconds(60))
        }
        #expect(failing.failures.first?.data["reason"] == "exit status 3")
        #expect(failing.failures.first?.data["tries"] == "5")
        let missing = NotifierFixture(command: ["/nonexistent/program"])
        await missing.notify()
        await missing.notifier.deliverDue()
        #expect(missing.failures.first?.data["tries"] == "1")
        #expect(missing.failures.first?.data["reason"]?.contains("No such file") == true)
    }

    @Test func `a command that hangs is killed with everything it started`() async throws {
        let folder = try TemporaryTree()
        let runner = CommandRunner(limit: .milliseconds(300))
        // The fifo's writer: opens it, tells that it runs, and keeps it open for as long as it lives.
        mkfifo("\(folder.root)/alive", 0o600)
        let reader = open("\(folder.root)/alive", O_RDONLY | O_NONBLOCK | O_CLOEXEC)
        defer { close(reader) }
        let end = await runner.run(
            ["/bin/sh", "-c", "exec 3> \(folder.root)/alive; sleep 1000 & sleep 1000"], input: [])
        #expect(end == .killed)
        // Every holder of the other end is gone: poll(2) says so, and would wait for ever otherwise.
        var poll = pollfd(fd: reader, events: 0, revents: 0)
        #expect(Glibc.poll(&poll, 1, 60_000) == 1 && poll.revents & Int16(POLLHUP) != 0)
    }

    @Test func `a command that is not wanted any more is killed`() async throws {
        let folder = try TemporaryTree()
        mkfifo("\(folder.root)/alive", 0o600)
        let reader = open("\(folder.root)/alive", O_RDWR | O_CLOEXEC)
        defer { close(reader) }
        let task = Task {
            await CommandRunner().run(
                ["/bin/sh", "-c", "echo > \(folder.root)/alive; exec sleep 1000"], input: [])
        }
        let started = await withCheckedContinuation { continuation in
            onNewThread {
                var byte: UInt8 = 0
                continuation.resume(returning: read(reader, &byte, 1))
            }
        }
        #expect(started == 1)
        task.cancel()
        #expect(await task.value == .killed)
    }

    @Test func `a command may leave its input unread, however long`() async {
        let input = [UInt8](repeating: 0x20, count: 1 << 20)
        #expect(await CommandRunner().run(["/bin/true"], input: input) == .ended(.exited(0)))
        #expect(
            await CommandRunner().run(["/bin/sh", "-c", "kill -9 $$"], input: [])
                == .ended(.killed(signal: 9)))
    }
}

@Suite struct NotifierTests {
    @Test(arguments: NotificationRequest.Kind.allCases)
    func `everything that idle detection wants to be told can be chosen and is sent`(
        kind: NotificationRequest.Kind
    ) async throws {
        let wanted = try #require(NotificationKind(rawValue: kind.rawValue))
        #expect(NotificationKind.selectable.contains(wanted))
        let fixture = NotifierFixture(command: ["/bin/true"], events: [wanted])
        await fixture.notifier.notify(NotificationRequest(kind: kind, title: "t", text: "x"))
        await fixture.notifier.deliverDue()
        #expect(fixture.count(.command, .delivered) == 1)
    }

    @Test func `what is not wanted is not sent, and without a way nothing waits`() async throws {
        let fixture = NotifierFixture(command: ["/bin/false"], events: [.alarm])
        await fixture.notify(.waiting)
        await fixture.notifier.deliverDue()
        #expect(fixture.notifier.counts().isEmpty && fixture.failures.isEmpty)
        let nobody = NotifierFixture()
        await nobody.notify()
        await nobody.notifier.deliverDue()
        #expect(nobody.notifier.counts().isEmpty)
        await #expect(throws: ProblemDetails.self) { try await nobody.notifier.test() }
    }

    @Test func `the newest are kept, and what went is counted`() async throws {
        let fixture = NotifierFixture(command: ["/bin/true"])
        for number in 0..<(DeliveryQueue.limit + 3) { await fixture.notify(title: "\(number)") }
        #expect(fixture.count(.command, .dropped) == 3)
        await fixture.notifier.deliverDue()
        #expect(fixture.count(.command, .delivered) == UInt64(DeliveryQueue.limit))
    }

    @Test func `a new configuration takes over what waits`() async throws {
        let fixture = NotifierFixture(command: ["/bin/false"])
        await fixture.notify()
        await fixture.notifier.deliverDue()
        fixture.notifier.reconfigure(.init(command: ["/bin/true"], events: [.waiting]))
        fixture.advance(.seconds(60))
        await fixture.notifier.deliverDue()
        #expect(fixture.count(.command, .delivered) == 1)
        fixture.notifier.reconfigure(.init())
        await fixture.notify()
        await fixture.notifier.deliverDue()
        #expect(fixture.count(.command, .delivered) == 1)
    }

    @Test func `a test goes every way at once and tells what became of it`() async throws {
        let server = try TestServer { connection in
            _ = try connection.readRequest()
            try connection.respond(204)
        }
        defer { server.stop() }
        let fixture = NotifierFixture(webhook: server.url, command: ["/bin/sh", "-c", "exit 9"], events: [])
        let report = try await fixture.notifier.test()
        #expect(report.results.map(\.way) == ["webhook", "command"])
        #expect(report.results.map(\.delivered) == [true, false])
        #expect(report.results.map(\.target) == [server.url, "/bin/sh"])
        #expect(report.results[0].detail == "HTTP 204" && report.results[1].detail.contains("exit status 9"))
    }

    @Test func `the pauses between tries make about ten minutes, whatever chance says`() {
        for jitter in [0, 1] as [Double] {
            var queue = DeliveryQueue()
            let notification = Message(
                id: "1", kind: .alarm, vm: "", host: "", time: .now, title: "", text: "")
            var now = Moment.boot
            #expect(queue.add(notification, now: now) == nil)
            for number in 1...DeliveryQueue.tryLimit {
                guard var entry = queue.takeDue(now: now) else {
                    Issue.record("try \(number) did not come")
                    return
                }
                entry.tries += 1
                let goesOn = queue.retry(entry, now: now, jitter: jitter)
                #expect(goesOn == (number < DeliveryQueue.tryLimit))
                #expect(queue.takeDue(now: now) == nil)
                now = queue.waiting.first?.dueAt ?? now
            }
            #expect((Moment.boot + .seconds(420)...Moment.boot + .seconds(660)).contains(now))
        }
    }

    @Test func `a notification is bounded, whatever goes into it`() throws {
        let long = String(repeating: "ü\u{1F600}", count: 100_000)
        let many = Dictionary(uniqueKeysWithValues: (0..<1000).map { ("key\($0)", long) })
        let notification = Message(
            id: "1", kind: .alarm, vm: "v", host: "h", time: .now, title: long, text: long, data: many)
        #expect(notification.json.count < 64 << 10)
        #expect(try JSONDecoder().decode(Message.self, from: Data(notification.json)) == notification)
    }
}
