import Glibc
import Supervision
import Synchronization
import Testing

@testable import CaddyConfig
@testable import TestSupport

/// A running service and what it handed over.
struct RunningAccessLog {
    let service: AccessLogService
    let entries: Mutex<[AccessLogEntry]>.Shared

    /// Waits until so many entries have come, and takes them.
    func next(_ count: Int = 1) async throws -> [AccessLogEntry] {
        try await waitUntil("\(count) entries come") { entries.value.withLock { $0.count >= count } }
        return entries.value.withLock { entries in
            defer { entries = [] }
            return entries
        }
    }
}

extension Mutex {
    /// A mutex that several may hold.
    final class Shared: Sendable where Value: Sendable {
        let value: Mutex<Value>
        init(_ value: Value) { self.value = Mutex<Value>(value) }
    }
}

/// Runs a service during `body`.
func withAccessLog(
    _ listener: AccessLogService.Listener, mayConnect: @escaping @Sendable (UInt32) -> Bool = { _ in true },
    onEntries: @escaping @Sendable ([AccessLogEntry]) -> Void = { _ in },
    body: (RunningAccessLog) async throws -> Void
) async throws {
    let entries = Mutex<[AccessLogEntry]>.Shared([])
    let service = AccessLogService(
        monitor: ServiceMonitor(name: "access-log"), listener: listener, mayConnect: mayConnect
    ) { batch in
        onEntries(batch)
        entries.value.withLock { $0 += batch }
    }
    // `onEntries` may block, which would take one of the pool's few threads from all other tests.
    let task = Task(executorPreference: ThreadPerJobExecutor.shared) { try await service.run() }
    if case .path(let path) = listener {
        try await waitUntil("the service listens") { canConnect(to: path) }
    }
    do {
        try await body(RunningAccessLog(service: service, entries: entries))
    } catch {
        task.cancel()
        _ = await task.result
        throw error
    }
    task.cancel()
    try await task.value
}

private func line(_ number: Int) -> String {
    #"{"ts":1,"request":{"remote_ip":"::1","method":"GET","host":"h\#(number)"},"size":0,"status":200,"duration":0}"#
        + "\n"
}

@Suite("Receiving the access log", .timeLimit(.minutes(1)))
struct AccessLogServiceTests {
    @Test("Entries come in order, whatever stands between them; what is not understood is counted")
    func receive() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let path = "\(directory.path)/log.sock"
        try await withAccessLog(.path(path)) { running in
            let caddy = try Connection(connectingTo: path)
            try caddy.write(
                line(0) + "nonsense\n" + String(repeating: "[", count: 5000) + "\n"
                    + String(line(1).dropLast(20)))
            #expect(try await running.next().map(\.host) == ["h0"])
            try caddy.write(String(line(1).suffix(20)))
            #expect(try await running.next().map(\.host) == ["h1"])
            try caddy.write(String(repeating: "x", count: 1 << 20) + "\n" + line(2))
            #expect(try await running.next().map(\.host) == ["h2"])
            close(caddy.socket)
            let again = try Connection(connectingTo: path)
            defer { close(again.socket) }
            try again.write((3..<1003).map(line).joined())
            #expect(try await running.next(1000).map(\.host) == (3..<1003).map { "h\($0)" })
            #expect(running.service.statistics().lines == 1003)
            #expect(running.service.statistics().malformed == 3)
            try await waitUntil("health tells") {
                running.service.monitor.snapshot().health
                    == .ok(
                        detail: "1 connection, 3 lines not understood"
                            + " (longer than \(AccessLogParser.maxLineBytes) bytes)")
            }
        }
        #expect(access(path, F_OK) != 0)
    }

    @Test("Who may not connect is cut off at once, and so is the ninth connection")
    func refused() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let path = "\(directory.path)/log.sock"
        let isAllowed = Mutex<Bool>.Shared(false)
        try await withAccessLog(
            .path(path),
            mayConnect: { uid in
                uid == getuid() && isAllowed.value.withLock { $0 }
            }
        ) { running in
            let stranger = try Connection(connectingTo: path)
            stranger.waitForEnd()
            close(stranger.socket)
            // The probe that looked whether it listens was one.
            #expect(running.service.statistics().refused == 2)
            isAllowed.value.withLock { $0 = true }
            let connections = try (0..<8).map { _ in try Connection(connectingTo: path) }
            defer { for connection in connections { close(connection.socket) } }
            for connection in connections { try connection.write(line(1)) }
            _ = try await running.next(8)
            let ninth = try Connection(connectingTo: path)
            ninth.waitForEnd()
            close(ninth.socket)
            #expect(running.service.statistics().refused == 3)
        }
    }

    @Test("Whoever is slow loses entries; Caddy is never held up, memory does not grow")
    func slow() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let path = "\(directory.path)/log.sock"
        let (began, proceed) = (Signal(), Signal())
        let sizes = Mutex<[Int]>.Shared([])
        let gate = ThreadGate(proceed)
        let isFirst = Mutex<Bool>.Shared(true)
        try await withAccessLog(
            .path(path),
            onEntries: { batch in
                sizes.value.withLock { $0.append(batch.count) }
                let isFirst = isFirst.value.withLock { isFirst in
                    defer { isFirst = false }
                    return isFirst
                }
                if isFirst {
                    began.fire()
                    gate.wait()
                }
            }
        ) { running in
            let caddy = try Connection(connectingTo: path)
            defer { close(caddy.socket) }
            try caddy.write(line(0))
            await began.wait()
            // Far more than the socket's buffer holds: this would block if nobody read it.
            let count = 20_000
            try caddy.write((1...count).map(line).joined())
            try await waitUntil("all is read") {
                running.service.statistics().dropped == UInt64(count - AccessLogInbox.maxEntries)
            }
            proceed.fire()
            let entries = try await running.next(AccessLogInbox.maxEntries + 1)
            #expect(entries.last?.host == "h\(AccessLogInbox.maxEntries)")
            #expect(sizes.value.withLock { $0.allSatisfy { $0 <= AccessLogService.maxBatch } })
        }
    }

    @Test("An inherited socket stays open for the next start")
    func inherited() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let path = "\(directory.path)/log.sock"
        let listener = try check(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0))
        defer { close(listener) }
        var address = try #require(UnixSocketAddress(path))
        _ = try check(address.withPointer { bind(listener, __CONST_SOCKADDR_ARG(__sockaddr__: $0), $1) })
        _ = try check(listen(listener, 4))
        for number in 0..<2 {
            // Waits in the backlog until the service comes.
            let caddy = try Connection(connectingTo: path)
            defer { close(caddy.socket) }
            try caddy.write(line(number))
            try await withAccessLog(.inherited(descriptor: listener)) { running in
                let entries = try await running.next()
                #expect(entries.map(\.host) == ["h\(number)"])
            }
        }
    }

    @Test("A socket that a killed daemon left is replaced, anything else is not")
    func leftOver() async throws {
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let path = "\(directory.path)/log.sock"
        let old = try check(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0))
        var address = try #require(UnixSocketAddress(path))
        _ = try check(address.withPointer { bind(old, __CONST_SOCKADDR_ARG(__sockaddr__: $0), $1) })
        close(old)
        try await withAccessLog(.path(path)) { _ in
            var status = stat()
            _ = try check(stat(path, &status))
            #expect(status.st_mode & 0o777 == 0o666)
        }
        try write([1], to: path)
        let service = AccessLogService(
            monitor: ServiceMonitor(name: "access-log"), listener: .path(path), mayConnect: { _ in true }
        ) { _ in }
        let error = await #expect(throws: AccessLogSocketError.self) {
            try await service.run()
        }
        #expect(error?.description == "listen on \(path): Address already in use")
        #expect(try read(path) == [1])
    }
}
