import CLinux
import Glibc
import Supervision
import Synchronization
import Testing

@testable import NamespaceRelay
@testable import TestSupport

struct LifeTests {
    @Test func `A peer that may not connect is closed at once and counted`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, handler: InnerServer.echo)
        defer { server.stop() }
        let asked = Mutex<[UInt32]>([])
        let relays = try Relays(mayConnect: { uid in
            asked.withLock { $0.append(uid) }
            return false
        })
        let path = try relays.relay(to: server.port, in: namespace)
        let heard = try await onThread {
            let connection = try connect(to: path)
            defer { connection.close() }
            return connection.readAll()
        }
        #expect(heard.isEmpty)
        #expect(asked.withLock { $0 } == [getuid()])
        #expect(relays.relays.statistics()["web"]?.refused == 1)
        #expect(relays.relays.statistics()["web"]?.connections == 0)
        try await relays.end()
    }

    @Test func `Another way into the same namespace leaves connections alone`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, handler: InnerServer.echo)
        defer { server.stop() }
        let relays = try Relays()
        let path = try relays.relay(to: server.port, in: namespace)
        let connection = try await onThread { try connect(to: path) }
        try await onThread { try connection.echo("before") }
        var target = namespace.target(server.port)
        target.entrance = "/proc/1/ns/none"
        #expect(try relays.relays.set([target])["web"]?.get() == path)
        try await onThread {
            try connection.echo("after")
            connection.close()
        }
        #expect(relays.relays.total().connections == 1)
        try await relays.end()
    }

    @Test func `A port without listener closes the client at once`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let (listener, port) = try await namespace.listen()
        close(listener)
        let relays = try Relays()
        let path = try relays.relay(to: port, in: namespace)
        let heard = try await onThread {
            let connection = try connect(to: path)
            defer { connection.close() }
            return connection.readAll()
        }
        #expect(heard.isEmpty)
        #expect(relays.relays.statistics()["web"]?.refused == 1)
        try await relays.end()
    }

    @Test func `A socket that meets itself, because nobody else listens, counts as refused`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        // The only port that connect(2) can choose is the one that is dialled.
        let setting = "echo 40000 40000 > /proc/sys/net/ipv4/ip_local_port_range"
        try run("ip", "netns", "exec", namespace.name, "sh", "-c", setting)
        let relays = try Relays()
        let path = try relays.relay(to: 40000, in: namespace)
        let heard = try await onThread {
            let connection = try connect(to: path)
            defer { connection.close() }
            // It may be closed already.
            try? connection.write("echo?")
            return connection.readAll()
        }
        #expect(heard.isEmpty)
        #expect(relays.relays.statistics()["web"]?.refused == 1)
        try await relays.end()
    }

    @Test func `Connections beyond the limit are closed at once, and room is used again`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, handler: InnerServer.echo)
        defer { server.stop() }
        let relays = try Relays(maximumConnections: 2)
        let path = try relays.relay(to: server.port, in: namespace)
        try await onThread {
            let clients = [try connect(to: path), try connect(to: path)]
            for client in clients { try client.echo("in") }
            let third = try connect(to: path)
            #expect(third.readAll().isEmpty)
            third.close()
            for client in clients { client.close() }
        }
        try await eventually("there is room") { relays.relays.statistics()["web"]?.openConnections == 0 }
        try await onThread {
            let client = try connect(to: path)
            try client.echo("in again")
            client.close()
        }
        #expect(relays.relays.statistics()["web"]?.refused == 1)
        try await relays.end()
    }

    @Test func `A relay that stays keeps its connections, one that goes takes its own along`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, handler: InnerServer.echo)
        defer { server.stop() }
        let relays = try Relays()
        let (stays, goes) = (
            namespace.target(server.port, name: "stays"), namespace.target(server.port, name: "goes")
        )
        let first = relays.relays.set([stays, goes])
        let (staysPath, goesPath) = (try #require(first["stays"]).get(), try #require(first["goes"]).get())
        let (kept, lost) = (try connect(to: staysPath), try connect(to: goesPath))
        try await onThread {
            try kept.echo("one")
            try lost.echo("two")
        }
        let added = namespace.target(server.port, name: "added")
        let second = relays.relays.set([added, stays])
        #expect(second.filter { (try? $0.value.get()) != nil }.keys.sorted() == ["added", "stays"])
        try await onThread {
            #expect(lost.readAll().isEmpty)
            try kept.echo("three")
        }
        #expect(throws: SocketError.self) { try connect(to: goesPath) }
        #expect(access(goesPath, F_OK) != 0)
        #expect(relays.relays.statistics()["stays"]?.connections == 1)
        kept.close()
        lost.close()
        try await relays.end()
    }

    @Test func `A relay with the same name and another port begins anew`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, handler: InnerServer.echo)
        defer { server.stop() }
        let other = try await InnerServer(in: namespace) { try $0.write("other") }
        defer { other.stop() }
        let relays = try Relays()
        let before = try connect(to: try relays.relay(to: server.port, in: namespace))
        try await onThread { try before.echo("one") }
        let path = try relays.relay(to: other.port, in: namespace)
        let (rest, greeting) = try await onThread {
            let after = try connect(to: path)
            defer { after.close() }
            return (before.readAll(), after.readAll())
        }
        before.close()
        #expect(rest.isEmpty)
        #expect(greeting == Array("other".utf8))
        try await relays.end()
    }

    @Test func `Ending the connections of one relay leaves the others and goes on listening`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, handler: InnerServer.echo)
        defer { server.stop() }
        let relays = try Relays()
        let result = relays.relays.set([
            namespace.target(server.port, name: "a"), namespace.target(server.port, name: "b"),
        ])
        let (a, b) = (try #require(result["a"]).get(), try #require(result["b"]).get())
        let (first, second, other) = (try connect(to: a), try connect(to: a), try connect(to: b))
        try await onThread { for client in [first, second, other] { try client.echo("here") } }
        #expect(relays.relays.endConnections(of: "a") == 2)
        #expect(relays.relays.endConnections(of: "unknown") == 0)
        try await onThread {
            #expect(first.readAll().isEmpty)
            #expect(second.readAll().isEmpty)
            try other.echo("still here")
            let again = try connect(to: a)
            try again.echo("new")
            again.close()
        }
        for client in [first, second, other] { client.close() }
        try await relays.end()
    }

    @Test func `A namespace that dies ends its connections, and its entrance is told as vanished`()
        async throws
    {
        let holder = try start(["unshare", "--net", "sh", "-c", "ip link set lo up; exec sleep 600"])
        let entrance = "/proc/\(holder)/ns/net"
        let own = try Namespace.inode(of: "/proc/self/ns/net")
        try await eventually("the holder has its namespace up") {
            var text = [UInt8](repeating: 0, count: 64)
            let file = open("/proc/\(holder)/comm", O_RDONLY | O_CLOEXEC)
            defer { close(file) }
            let count = read(file, &text, 64)
            return try Namespace.inode(of: entrance) != own
                && String(decoding: text.prefix(max(0, count)), as: UTF8.self) == "sleep\n"
        }
        let target = { (port: UInt16) in
            RelayTarget(
                name: "web", namespace: try Namespace.inode(of: entrance), entrance: entrance,
                address: "127.0.0.1", port: port)
        }
        let (listener, port) = try await Namespace.listen(on: "127.0.0.1", behind: entrance)
        let closing = Signal()
        let server = InnerServer(listener: listener, port: port) { connection in
            try connection.write("up")
            ThreadGate(closing).wait()
            connection.reset()
        }
        let relays = try Relays()
        let wanted = try target(port)
        let path = try #require(relays.relays.set([wanted])["web"]).get()
        let client = try connect(to: path)
        try await onThread { try #require(try client.read(exactly: 2) == Array("up".utf8)) }
        // All of its processes die: here the holder, and the server that the test plays itself.
        kill(holder, SIGKILL)
        waitpid(holder, nil, 0)
        server.stop()
        closing.fire()
        let rest = try await onThread { client.readAll() }
        client.close()
        #expect(rest.isEmpty)
        var moved = wanted
        moved.name = "again"
        let results = relays.relays.set([wanted, moved])
        #expect(throws: Never.self) { try #require(results["web"]).get() }
        let error = #expect(throws: RelayError.self) { try #require(results["again"]).get() }
        #expect(error?.cause == .vanished)
        #expect(error?.hint != nil)
        try await relays.end()
    }

    @Test func `Relays work before they run, and are gone after`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, handler: InnerServer.echo)
        defer { server.stop() }
        let relays = try Relays(isRunning: false)
        let path = try relays.relay(to: server.port, in: namespace)
        let client = try connect(to: path)
        try await onThread { try client.echo("early") }
        let service = relays.relays
        let task = Task { try await service.run() }
        try await eventually("it is well") {
            relays.monitor.snapshot().health == .ok(detail: "1 relay, 1 connection")
        }
        task.cancel()
        try await task.value
        #expect(try await onThread { client.readAll() }.isEmpty)
        client.close()
        #expect(access(path, F_OK) != 0)
        let error = #expect(throws: RelayError.self) {
            try #require(service.set([namespace.target(server.port)])["web"]).get()
        }
        #expect(error?.cause == .stopped)
        try await relays.end()
    }

    @Test func `Sockets of a killed daemon are removed at the start, other files are not`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let relays = try Relays(isRunning: false)
        let folder = "\(relays.directory.path)/relay"
        try #require(mkdir(folder, 0o777) == 0)
        close(try RelayFolder.listen(on: "\(folder)/old.sock"))
        close(try RelayFolder.listen(on: "\(folder)/old.other"))
        close(try check(open("\(folder)/plain.sock", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)))
        _ = try relays.relay(to: 1, in: namespace)
        #expect(access("\(folder)/old.sock", F_OK) != 0)
        #expect(access("\(folder)/old.other", F_OK) == 0)
        #expect(access("\(folder)/plain.sock", F_OK) == 0)
        var status = stat()
        try #require(stat(folder, &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o711)
        try #require(stat("\(folder)/web.sock", &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o666)
        try await relays.end()
    }

    @Test func `What cannot be relayed says why`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let relays = try Relays()
        func cause(_ change: (inout RelayTarget) -> Void) -> RelayError.Cause? {
            var target = namespace.target(80)
            change(&target)
            guard case .failure(let error)? = relays.relays.set([target])[target.name] else { return nil }
            return error.cause
        }
        #expect(cause { $0.namespace += 1 } == .otherNamespace)
        try await eventually("the health says so") { relays.monitor.snapshot().health.isDegraded }
        #expect(cause { $0.entrance = "/proc/self/ns/mnt" } == .otherNamespace)
        #expect(cause { $0.entrance = "/etc/passwd" } == .otherNamespace)
        #expect(cause { $0.entrance = "/proc/0/ns/net" } == .vanished)
        for change: (inout RelayTarget) -> Void in [
            { $0.name = "../web" }, { $0.name = "" }, { $0.name = "Web" }, { $0.address = "localhost" },
            { $0.port = 0 }, { $0.name = String(repeating: "a", count: 100) },
        ] {
            guard case .invalid = cause(change) else {
                Issue.record("an invalid target was taken")
                continue
            }
        }
        #expect(cause { _ in } == nil)
        try await eventually("it is well") { !relays.monitor.snapshot().health.isDegraded }
        try await relays.end()
    }

    @Test func `Without the right to enter, the relay is refused and the hint names the right`() async throws
    {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        let relays = NamespaceRelays(
            monitor: ServiceMonitor(name: "relays"), folder: "\(directory.path)/relay", maximumConnections: 1,
            mayConnect: { _ in true },
            enter: { _ in
                errno = EPERM
                return -1
            })
        let error = #expect(throws: RelayError.self) {
            try #require(relays.set([namespace.target(80)])["web"]).get()
        }
        #expect(error?.cause == .denied(errno: EPERM))
        #expect(error?.hint?.contains("CAP_SYS_ADMIN") == true)
        #expect(access("\(directory.path)/relay/web.sock", F_OK) != 0)
        withExtendedLifetime(relays) {}
    }

    @Test func `A thread that cannot come back is replaced by one that can`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let server = try await InnerServer(in: namespace, handler: InnerServer.echo)
        defer { server.stop() }
        let directory = try TemporaryDirectory()
        defer { directory.remove() }
        // Calls go in, back, in, back …; every second return fails.
        let calls = Mutex((count: 0, threads: Set<pthread_t>()))
        let relays = NamespaceRelays(
            monitor: ServiceMonitor(name: "relays"), folder: "\(directory.path)/relay",
            maximumConnections: 10,
            mayConnect: { _ in true },
            enter: { descriptor in
                let count = calls.withLock { calls in
                    calls.count += 1
                    calls.threads.insert(pthread_self())
                    return calls.count
                }
                if count % 4 == 0 {
                    errno = EPERM
                    return -1
                }
                return samd_enter_network_namespace(descriptor)
            })
        let path = try #require(relays.set([namespace.target(server.port)])["web"]).get()
        let own = try Namespace.inode(of: "/proc/self/ns/net")
        try await onThread {
            for number in 0..<10 {
                let client = try connect(to: path)
                try client.echo("number \(number)")
                client.close()
            }
        }
        #expect(calls.withLock { $0.count } >= 22)
        #expect(relays.statistics()["web"]?.connections == 10)
        #expect(try Namespace.inode(of: "/proc/self/ns/net") == own)
        withExtendedLifetime(relays) {}
    }

    @Test func `A stuck relay thread shows as a service without progress`() async throws {
        let namespace = try Namespace()
        defer { namespace.remove() }
        let stuck = Signal()
        let asked = Signal()
        let relays = try Relays(mayConnect: { _ in
            asked.fire()
            ThreadGate(stuck).wait()
            return true
        })
        let path = try relays.relay(to: 1, in: namespace)
        let client = try connect(to: path)
        await asked.wait()
        try await eventually("the progress is older than a heartbeat") {
            relays.monitor.snapshot().sinceProgress > Heartbeat.interval * 2
        }
        stuck.fire()
        try await eventually("it goes on") { relays.monitor.snapshot().sinceProgress < Heartbeat.interval }
        client.close()
        try await relays.end()
    }
}
