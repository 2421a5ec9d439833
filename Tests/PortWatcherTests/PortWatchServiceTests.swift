import Glibc
import ProcFS
import Supervision
import Synchronization
import Testing

@testable import PortWatcher
@testable import TestSupport

@Suite struct PortWatchServiceTests {
    /// A service on a made-up /proc, driven by fed triggers and a clock moved by hand.
    final class Driven {
        let proc: FakeProc
        let clock = HandClock()
        let monitor: ServiceMonitor
        private let snapshots = Log<[UInt16]>()
        private let owners = Log<[Int32?]>()
        private let sources = Log<WakeUpSource>()
        private let feed: AsyncStream<PortWatchTrigger>.Continuation
        private var waits: AsyncStream<SuspendingClock.Instant>.Iterator
        private let task: Task<Void, Never>
        private(set) var wakeAt: Duration = .zero

        init(rows: String = "") async throws {
            proc = try FakeProc()
            try proc.setRows(rows)
            let clock = clock
            let monitor = ServiceMonitor(name: "ports", now: { clock.now })
            self.monitor = monitor
            let (triggers, feed) = AsyncStream.makeStream(
                of: PortWatchTrigger.self, bufferingPolicy: .bufferingOldest(16))
            let (waits, waiting) = AsyncStream.makeStream(
                of: SuspendingClock.Instant.self, bufferingPolicy: .bufferingOldest(16))
            self.feed = feed
            self.waits = waits.makeAsyncIterator()
            let service = PortWatchService(
                monitor: monitor, procfs: proc.procfs, now: { clock.now },
                onChange: { [snapshots, owners] ports in
                    snapshots.append(ports.map(\.identity.port))
                    owners.append(ports.map(\.process?.pid))
                },
                onWakeUpSource: { [sources] in sources.append($0) })
            task = Task { await service.run(triggers: triggers) { waiting.yield($0) } }
            await untilIdle()
        }

        /// Moves the clock, feeds a trigger and waits until the service waits again.
        func step(_ trigger: PortWatchTrigger, after delay: Duration = .zero) async {
            clock.advance(by: delay)
            feed.yield(trigger)
            await untilIdle()
        }

        func takeSnapshots() -> [[UInt16]] { snapshots.take() }
        /// The pids behind the ports of each snapshot.
        func takeOwners() -> [[Int32?]] { owners.take() }
        func takeSources() -> [WakeUpSource] { sources.take() }

        func end() async {
            task.cancel()
            await task.value
        }

        private func untilIdle() async {
            let instant = await waits.next()
            if let instant { wakeAt = clock.now.duration(to: instant) }
        }
    }

    final class Log<Element: Sendable>: Sendable {
        private let elements = Mutex<[Element]>([])
        func append(_ element: Element) { elements.withLock { $0.append(element) } }
        func take() -> [Element] {
            elements.withLock { elements in
                defer { elements = [] }
                return elements
            }
        }
    }

    @Test("The first scan is told although it is empty, and the service is healthy")
    func firstScan() async throws {
        let driven = try await Driven()
        #expect(driven.takeSnapshots() == [[]])
        #expect(driven.monitor.snapshot().health == .ok(detail: "0 listeners"))
        await driven.end()
    }

    @Test("A kernel event leads to a scan and a change at once; a port that went is withdrawn after 3 s")
    func kernelEvent() async throws {
        let driven = try await Driven()
        await driven.step(.wakeUpSource(.kernelEvents), after: .seconds(1))
        try driven.proc.setRows(Sample.row(port: 3000, inode: 99))
        await driven.step(.kernelEvent, after: .seconds(1))
        #expect(driven.takeSnapshots() == [[], [3000]])
        #expect(driven.monitor.snapshot().health == .ok(detail: "1 listener, kernel events"))
        try driven.proc.setRows("")
        await driven.step(.kernelEvent, after: .seconds(1))
        await driven.step(.alarm, after: .milliseconds(2999))
        #expect(driven.takeSnapshots() == [])
        #expect(driven.wakeAt == .milliseconds(1))
        await driven.step(.alarm, after: .milliseconds(1))
        #expect(driven.takeSnapshots() == [[]])
        await driven.end()
    }

    @Test("A listener that shows a hair after its event is found by the repeated look")
    func lateListener() async throws {
        let driven = try await Driven()
        await driven.step(.wakeUpSource(.kernelEvents), after: .seconds(1))
        await driven.step(.alarm, after: .seconds(1))
        _ = driven.takeSnapshots()
        await driven.step(.kernelEvent, after: .seconds(1))
        #expect(driven.takeSnapshots() == [])
        #expect(driven.wakeAt == .milliseconds(2))
        try driven.proc.setRows(Sample.row(port: 3000, inode: 99))
        await driven.step(.alarm, after: .milliseconds(2))
        #expect(driven.takeSnapshots() == [[3000]])
        await driven.end()
    }

    @Test("An alarm before anything is due costs no scan but stamps progress")
    func earlyAlarm() async throws {
        let driven = try await Driven()
        await driven.step(.wakeUpSource(.kernelEvents))
        // Answers the change of the source, then confirms the answer.
        for _ in 0..<2 { await driven.step(.alarm, after: .seconds(1)) }
        try driven.proc.setRows(Sample.row(port: 3000, inode: 99))
        _ = driven.takeSnapshots()
        await driven.step(.alarm, after: .seconds(1))
        #expect(driven.takeSnapshots() == [])
        #expect(driven.monitor.snapshot().sinceProgress == .zero)
        #expect(driven.wakeAt == Heartbeat.interval)
        await driven.step(.alarm, after: .seconds(15))
        #expect(driven.takeSnapshots() == [[3000]])
        await driven.end()
    }

    @Test("A socket is looked at again 2 s after it came, also if another came shortly before")
    func handedOn() async throws {
        let driven = try await Driven()
        await driven.step(.wakeUpSource(.kernelEvents), after: .seconds(1))
        try driven.proc.addProcess(50, holding: 99)
        try driven.proc.setRows(Sample.row(port: 3000, inode: 99))
        await driven.step(.kernelEvent, after: .seconds(1))
        try driven.proc.addProcess(51, holding: 98, name: "podman")
        try driven.proc.setRows(Sample.row(port: 3000, inode: 99) + Sample.row(port: 8088, inode: 98))
        await driven.step(.kernelEvent, after: .milliseconds(1900))
        #expect(driven.takeOwners() == [[], [50], [50, 51]])
        await driven.step(.alarm, after: .milliseconds(100))
        #expect(driven.takeOwners() == [], "the check for the first one finds nothing new")
        try driven.proc.endProcess(51)
        try driven.proc.addProcess(52, holding: 98, name: "conmon")
        await driven.step(.alarm, after: .milliseconds(1800))
        #expect(driven.takeOwners() == [])
        #expect(driven.wakeAt == .milliseconds(100))
        await driven.step(.alarm, after: .milliseconds(100))
        #expect(driven.takeOwners() == [[50, 52]])
        await driven.step(.alarm, after: .seconds(2))
        #expect(driven.wakeAt == Heartbeat.interval, "nothing changed since")
        await driven.end()
    }

    @Test("Without events the set is polled each second")
    func polling() async throws {
        let driven = try await Driven()
        await driven.step(.wakeUpSource(.polling(reason: "turned off")))
        await driven.step(.wakeUpSource(.polling(reason: "turned off")))
        #expect(driven.takeSources() == [.polling(reason: "turned off")])
        try driven.proc.setRows(Sample.row(port: 3000, inode: 99))
        await driven.step(.alarm, after: .seconds(1))
        #expect(driven.takeSnapshots() == [[], [3000]])
        #expect(driven.monitor.snapshot().health == .ok(detail: "1 listener, polling"))
        await driven.end()
    }

    @Test("A table that cannot be read is degraded health and removes nothing; it heals by itself")
    func unreadable() async throws {
        let driven = try await Driven(rows: Sample.row(port: 3000, inode: 99))
        try driven.proc.files.write("nonsense\n", to: "self/net/tcp")
        for _ in 0..<5 { await driven.step(.alarm, after: .seconds(2)) }
        #expect(driven.takeSnapshots() == [[3000]])
        guard case .degraded(let reason, _) = driven.monitor.snapshot().health else {
            Issue.record("\(driven.monitor.snapshot())")
            return
        }
        #expect(reason.contains("self/net/tcp: line 1 is not the header of net/tcp: \"nonsense\""))
        try driven.proc.setRows(Sample.row(port: 3000, inode: 99))
        await driven.step(.alarm, after: .seconds(2))
        #expect(driven.takeSnapshots() == [])
        #expect(!driven.monitor.snapshot().health.isDegraded)
        await driven.end()
    }

    @Test("On this machine, without tracefs, polling sees a real listener and says why it polls")
    func realPolling() async throws {
        var settings = PortWatchSettings()
        settings.tracefsRoot = "/nonexistent"
        settings.activePollInterval = .milliseconds(50)
        let source = try await seeRealListener(settings)
        guard case .polling(let reason) = source else {
            Issue.record("\(source)")
            return
        }
        #expect(reason.hasPrefix("find /nonexistent/instances: tracefs is not mounted here; mount it:"))
    }

    @Test(
        "On this machine, with kernel events, a real listener is seen",
        .enabled(if: testTracefs != nil, "SAMD_TEST_TRACEFS names no tracefs; ./dev test mounts one as root"))
    func realEvents() async throws {
        var settings = PortWatchSettings()
        settings.tracefsRoot = try #require(testTracefs)
        settings.tracefsInstance = "samd-test-\(getpid())-service"
        #expect(try await seeRealListener(settings) == .kernelEvents)
        #expect(access("\(settings.tracefsRoot)/instances/\(settings.tracefsInstance)", F_OK) != 0)
    }

    /// Runs the service until it has told of its source and of a listener that appears then.
    private func seeRealListener(_ settings: PortWatchSettings) async throws -> WakeUpSource {
        let (snapshots, tell) = AsyncStream.makeStream(
            of: [ListeningPort].self, bufferingPolicy: .bufferingNewest(1))
        let (sources, tellSource) = AsyncStream.makeStream(
            of: WakeUpSource.self, bufferingPolicy: .bufferingOldest(1))
        let service = PortWatchService(
            monitor: ServiceMonitor(name: "ports"), settings: settings, onChange: { tell.yield($0) },
            onWakeUpSource: { tellSource.yield($0) })
        let task = Task { await service.run() }
        var iterator = sources.makeAsyncIterator()
        let source = try #require(await iterator.next())
        let listener = try LoopbackSocket()
        try listener.listen()
        for await ports in snapshots {
            guard let found = ports.first(where: { $0.inode == listener.inode }) else { continue }
            #expect(found.identity.port == listener.port)
            #expect(found.process?.pid == getpid())
            break
        }
        task.cancel()
        await task.value
        return source
    }
}
