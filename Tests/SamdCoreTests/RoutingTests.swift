import CaddyConfig
import Containers
import PortWatcher
import ProcFS
import Testing

@testable import SamdCore

/// A listener for tests.
func listener(_ port: UInt16, _ address: IPAddress = .loopbackIPv4, uid: UInt32 = 1000, inode: UInt64 = 1)
    -> ListeningPort
{
    ListeningPort(
        identity: PortIdentity(namespace: 1, ownerUID: uid, address: address, port: port), process: nil,
        firstSeen: SuspendingClock().now, inode: inode)
}

/// A listener in a container's own network namespace.
func contained(
    _ port: UInt16, in name: String, _ address: IPAddress = .loopbackIPv4, uid: UInt32 = 0,
    namespace: UInt64 = 7, creator: UInt32 = 0, at hostAddress: IPAddress? = nil
) -> ListeningPort {
    ListeningPort(
        identity: PortIdentity(namespace: namespace, ownerUID: uid, address: address, port: port),
        process: nil, firstSeen: SuspendingClock().now, inode: 1,
        container: Container(runtime: .podman, id: "", name: name, creatorUID: creator),
        entrance: .process(pid: 4, startTime: 1), hostAddress: hostAddress)
}

/// Something that a test relies on is not so.
struct TestFailure: Error {
    let what: String
    init(_ what: String) { self.what = what }
}

@Suite struct RoutingTests {
    private func decision(_ port: ListeningPort, _ change: (inout RoutingPolicy) -> Void = { _ in })
        -> PortDecision?
    {
        var policy = RoutingPolicy()
        change(&policy)
        return Routing.table(for: [port], policy: policy).ports.first?.decision
    }

    private func reason(_ decision: PortDecision?) -> String? {
        if case .refused(let refusal) = decision { refusal.reason } else { nil }
    }

    @Test func `a login user's port is published under its name, with the web password`() throws {
        let table = Routing.table(for: [listener(3000)], policy: RoutingPolicy())
        #expect(
            table.ports.map(\.decision) == [
                .published(hosts: ["3000--vm.localhost"], access: .basic)
            ])
        let route = try #require(table.routes.first)
        #expect(route.hosts == ["3000--vm.localhost"])
        #expect(
            route.upstream == "127.0.0.1:3000" && route.upstreamHost == "localhost:3000" && !route.isPublic)
    }

    @Test(arguments: [
        ("0.0.0.0", "127.0.0.1:3000"), ("127.0.0.1", "127.0.0.1:3000"), ("127.0.0.53", "127.0.0.53:3000"),
        ("10.0.0.7", "10.0.0.7:3000"), ("::", "[::1]:3000"), ("::1", "[::1]:3000"),
        ("fd00::7", "[fd00::7]:3000"),
        ("::ffff:127.0.0.1", "127.0.0.1:3000"), ("::ffff:0.0.0.0", "127.0.0.1:3000"),
    ])
    func `the upstream reaches exactly the listener`(address: String, upstream: String) throws {
        #expect(Routing.dialAddress(of: listener(3000, try #require(IPAddress(address)))) == upstream)
    }

    @Test
    func `of several listeners that came together the most local one has the route and the others are named`()
        throws
    {
        let now = SuspendingClock().now
        let together = [.anyIPv6, try #require(IPAddress("10.0.0.7")), .loopbackIPv4].map { address in
            var port = listener(3000, address)
            port.firstSeen = now
            return port
        }
        let table = Routing.table(for: together, policy: RoutingPolicy())
        #expect(table.routes.map(\.upstream) == ["127.0.0.1:3000"])
        #expect(table.ports.dropFirst().allSatisfy { $0.decision == .covered(by: "127.0.0.1") })
    }

    @Test func `a refused listener does not keep another owner's from being published`() {
        let table = Routing.table(
            for: [listener(3000, uid: 0), listener(3000, .loopbackIPv6)], policy: RoutingPolicy())
        #expect(table.routes.map(\.upstream) == ["[::1]:3000"])
    }

    @Test func `policy keeps ports private and says why`() {
        #expect(reason(decision(listener(3000, uid: 0)))?.contains("uid 0) is not a login user") == true)
        #expect(reason(decision(listener(3000, uid: 65534)))?.contains("not a login user") == true)
        #expect(reason(decision(listener(80)))?.contains("below 1024") == true)
        #expect(reason(decision(listener(5432)))?.contains("ports.deny") == true)
        #expect(reason(decision(listener(3000)) { $0.ignore = [3000] })?.contains("ports.ignore") == true)
        #expect(reason(decision(listener(40000)))?.contains("ephemeral range 32768-60999") == true)
        #expect(reason(decision(listener(40000)) { $0.allowEphemeral = [40000] }) == nil)
        #expect(reason(decision(listener(8080)) { $0.reserved = [8080] })?.contains("Caddy itself") == true)
        let owners = RoutingPolicy.Owners.listed(uids: [1001], names: ["ann"])
        #expect(
            reason(decision(listener(3000)) { $0.owners = owners })?.contains("one of the workspace's: ann")
                == true)
        #expect(reason(decision(listener(3000, uid: 1001)) { $0.owners = owners }) == nil)
    }

    @Test(arguments: [
        (listener(40000), "samd ports set 40000 --publish"), (listener(80), "samd ports set 80 --publish"),
        (listener(5432), "sudo samd ports set 5432 --publish"),
        (listener(3000, uid: 0), "sudo samd ports set 3000 --publish"),
    ])
    func `a refusal names the command that lifts it, and the command does`(
        port: ListeningPort, command: String
    )
        throws
    {
        let refused = Routing.table(for: [port], policy: RoutingPolicy()).ports.first?.decision
        guard case .refused(let refusal) = refused else { throw TestFailure("published") }
        #expect(refusal.command == command && refusal.hint?.hasPrefix(command) == true)
        var overrides = PortOverrides()
        let isByRoot = command.hasPrefix("sudo")
        _ = overrides.set(PortOverride(published: true, isByRoot: isByRoot), for: port)
        let table = Routing.table(for: [port], policy: RoutingPolicy(), overrides: overrides)
        #expect(table.routes.count == 1)
        guard isByRoot else { return }
        _ = overrides.set(PortOverride(published: true, isByRoot: false), for: port)
        #expect(
            Routing.table(for: [port], policy: RoutingPolicy(), overrides: overrides).routes.isEmpty,
            "what root alone may lift is not lifted by others")
    }

    @Test func `a port is public only while the policy allows it`() {
        var overrides = PortOverrides()
        _ = overrides.set(PortOverride(auth: .public), for: listener(3000))
        var policy = RoutingPolicy()
        #expect(Routing.table(for: [listener(3000)], policy: policy, overrides: overrides).routes[0].isPublic)
        #expect(
            !Routing.table(for: [listener(3000, uid: 1001)], policy: policy, overrides: overrides).routes[0]
                .isPublic, "it was said of another user's server")
        policy.allowPublic = false
        #expect(
            !Routing.table(for: [listener(3000)], policy: policy, overrides: overrides).routes[0].isPublic)
    }

    @Test func `what somebody withdrew is refused, and its number is free for a container`() {
        var overrides = PortOverrides()
        _ = overrides.set(PortOverride(published: false), for: listener(3000))
        let table = Routing.table(
            for: [listener(3000), contained(3000, in: "web")], policy: RoutingPolicy(), overrides: overrides)
        #expect(table.routes.map(\.id) == ["p3000"] && table.routes[0].listener.hasPrefix("7-"))
    }

    @Test func `the limit counts published ports, and who was there first stays`() {
        var policy = RoutingPolicy()
        policy.limit = 2
        let ports = [listener(3002), listener(3000), listener(3001)]
        let table = Routing.table(for: ports, policy: policy)
        #expect(table.routes.map(\.id) == ["p3000", "p3002"])
        #expect(reason(table.ports[1].decision) == "2 ports are published already")
        // Restarted, the daemon knows from its memory who came first.
        let again = Routing.table(
            for: ports, policy: policy, since: { $0.identity.port == 3001 ? "1" : "2" })
        #expect(again.routes.map(\.id) == ["p3001", "p3002"])
    }

    @Test func `a listener that comes later does not take the route over, however local it is`() {
        let first = listener(3000, .anyIPv4)
        let later = listener(3000, .loopbackIPv6, uid: 1001)
        let table = Routing.table(for: [later, first], policy: RoutingPolicy())
        #expect(table.routes.map(\.upstream) == ["127.0.0.1:3000"] && table.ports[0].listening == first)
        #expect(table.ports[1].decision == .covered(by: "0.0.0.0"))
    }

    @Test func `in the machine's own network only a runtime makes a container`() {
        var sandboxed = listener(3000, uid: 65_534)
        sandboxed.container = Container(runtime: .unknown, id: "", name: "ns1", creatorUID: 0)
        #expect(Routing.table(for: [sandboxed], policy: RoutingPolicy()).routes.isEmpty)
        sandboxed.container?.runtime = .docker
        #expect(Routing.table(for: [sandboxed], policy: RoutingPolicy()).routes.count == 1)
    }

    @Test func `the policy follows the configuration`() throws {
        let configuration = try Configuration.parse(
            "[workspace]\nowners = [\"dev\", \"nobody-here\", 7]\n[caddy]\nlisten = [\"127.0.0.1:8081\"]\n",
            file: "t")
        let policy = RoutingPolicy(
            configuration, hostName: "Web_1.internal.example", ephemeral: 1...2,
            userID: { $0 == "dev" ? 1234 : nil })
        #expect(policy.owners == .listed(uids: [1234, 7], names: ["dev", "nobody-here", "7"]))
        #expect(policy.vm == "web-1" && policy.reserved == [8081])
        #expect(policy.url(for: policy.host(for: "3000")) == "http://3000--web-1.localhost:8081/")
    }

    @Test func `behind a proxy URLs are https without a port`() throws {
        let configuration = try Configuration.parse("[caddy]\nbehind_proxy = true\n", file: "t")
        let policy = RoutingPolicy(configuration, hostName: "", ephemeral: 1...2, userID: { _ in nil })
        #expect(policy.url(for: policy.host(for: "3000")) == "https://3000--vm.localhost/")
    }

    @Test(arguments: [("Web_1.example", "web-1"), ("", "vm"), ("--", "vm"), ("ünï", "n"), ("a", "a")])
    func `a host name becomes a label`(name: String, label: String) {
        #expect(RoutingPolicy.label(from: name) == label)
    }

    @Test func `certificates cover one wildcard, whatever the pattern`() throws {
        var policy = RoutingPolicy()
        policy.domain = "example.com"
        #expect(policy.certificateSubjects(for: ["a"]) == ["*.example.com"])
        policy.pattern = "{port}.{vm}.{domain}"
        #expect(policy.certificateSubjects(for: ["a"]) == ["*.vm.example.com"])
        policy.domain = "localhost"
        #expect(policy.certificateSubjects(for: ["a"]) == ["*.vm.localhost"])
        policy.pattern = "{port}--{vm}.{domain}"
        #expect(policy.certificateSubjects(for: ["b", "a"]) == ["a", "b"])
        let configuration = try Configuration.parse(
            "[caddy]\ntls = \"internal\"\nlisten = [\":443\"]\n[routes]\naliases = { ui = 3001 }\n", file: "t"
        )
        let encrypted = RoutingPolicy(configuration, hostName: "", ephemeral: 1...2, userID: { _ in nil })
        #expect(encrypted.url(for: "a.b") == "https://a.b/")
        let table = Routing.table(for: [listener(3001)], policy: encrypted)
        #expect(table.routes[0].hosts == ["3001--vm.localhost", "ui--vm.localhost"])
    }
}

@Suite struct ContainerRoutingTests {
    @Test func `a container's port has the plain name until the machine's own takes it`() {
        let alone = Routing.table(for: [contained(3000, in: "dc1")], policy: RoutingPolicy())
        #expect(alone.routes.map(\.hosts) == [["3000--vm.localhost", "3000-dc1--vm.localhost"]])
        #expect(alone.ports.map(\.name) == ["3000"])
        let both = Routing.table(for: [contained(3000, in: "dc1"), listener(3000)], policy: RoutingPolicy())
        #expect(both.ports.map(\.name) == ["3000", "3000-dc1"])
        #expect(both.routes.map(\.hosts) == [["3000--vm.localhost"], ["3000-dc1--vm.localhost"]])
        #expect(both.routes.map(\.upstreamHost) == ["localhost:3000", "localhost:3000"])
    }

    @Test func `of two containers the first to come has the plain name, and equal names do not collide`() {
        let first = contained(3000, in: "b", namespace: 9)
        let second = contained(3000, in: "a", namespace: 8)
        let table = Routing.table(for: [second, first], policy: RoutingPolicy())
        #expect(table.ports.map(\.name) == ["3000", "3000-a"])
        let twin = contained(3000, in: "B", namespace: 10)
        let three = Routing.table(for: [second, first, twin], policy: RoutingPolicy())
        #expect(three.ports.map(\.decision).last == .covered(by: "another container of the same name"))
    }

    @Test func `who is reachable only inside gets a relay, others are dialled`() {
        let table = Routing.table(
            for: [
                contained(4000, in: "dc1"), contained(4001, in: "dc1", .anyIPv6),
                contained(4002, in: "dc1", .anyIPv4, at: IPAddress("10.88.0.2")),
            ], policy: RoutingPolicy())
        #expect(
            table.routes.map(\.upstream) == [
                "unix//run/samd/relay/7-0-127.0.0.1-4000.sock", "unix//run/samd/relay/7-0-::-4001.sock",
                "10.88.0.2:4002",
            ])
        #expect(table.relays.map { "\($0.address)" } == ["127.0.0.1", "::1"])
    }

    @Test func `a relay that cannot be had refuses its port and no other`() {
        var table = Routing.table(
            for: [contained(4000, in: "dc1"), contained(4001, in: "dc1")], policy: RoutingPolicy())
        table.refuse(table.relays[0], Refusal(reason: "no"))
        #expect(table.routes.map(\.id) == ["p4001"])
        #expect(table.ports[0].decision == .refused(Refusal(reason: "no")))
    }

    @Test func `containers of strangers are refused, those of root and of owners are offered`() {
        func isPublished(_ port: ListeningPort, _ change: (inout RoutingPolicy) -> Void = { _ in }) -> Bool {
            var policy = RoutingPolicy()
            change(&policy)
            return !Routing.table(for: [port], policy: policy).routes.isEmpty
        }
        #expect(isPublished(contained(3000, in: "a", uid: 0, creator: 0)))
        #expect(isPublished(contained(3000, in: "a", uid: 100_999, creator: 1000)))
        #expect(!isPublished(contained(3000, in: "a", uid: 100_999, creator: 65_534)))
        #expect(!isPublished(contained(3000, in: "a", uid: 0, creator: 0xFFFF_FFFF)))
        #expect(!isPublished(contained(3000, in: "a")) { $0.containers = false })
        var bare = contained(3000, in: "")
        bare.container = nil
        #expect(!isPublished(bare), "a system service in a network namespace of its own")
    }

    @Test(arguments: [
        ("dc1", "dc1"), ("My_App.1", "my-app-1"), ("--", "container"), ("ünï", "n"), ("a__b", "a-b"),
    ])
    func `a container's name becomes part of a label`(name: String, label: String) {
        let container = Container(runtime: .docker, id: "", name: name, creatorUID: 0)
        #expect(PortName.label(of: container) == label)
    }

    @Test func `a long name is cut so that the host stays a host name`() throws {
        var policy = RoutingPolicy()
        policy.vm = String(repeating: "v", count: 40)
        let name = String(repeating: "x", count: 60)
        let table = Routing.table(
            for: [contained(65000, in: name), listener(65000)],
            policy: {
                var policy = policy
                policy.ephemeral = 1...2
                return policy
            }())
        let host = try #require(table.routes.last?.hosts.first)
        #expect(HostName.isValid(host) && host.hasPrefix("65000-xxx"))
    }
}

@Suite struct RevocationTests {
    private func document(_ routes: [Route], hash: String = "h") -> CaddyDocument {
        CaddyDocument(listen: [], account: WebAccount(user: "u", passwordHash: hash), routes: routes)
    }

    private func route(_ id: String, _ listener: String, isPublic: Bool = false) -> Route {
        Route(
            id: id, hosts: ["\(id).x"], upstream: "127.0.0.1:300\(id.dropFirst().prefix(1))",
            upstreamHost: "localhost:3000",
            isPublic: isPublic, listener: listener)
    }

    @Test func `who came in may stay while nothing was taken away`() {
        let old = document([route("p1", "a"), route("p2", "b", isPublic: true)])
        #expect(Revocations.from(old, to: old).isEmpty)
        let opened = document([route("p1", "a", isPublic: true), route("p2", "b", isPublic: true)])
        #expect(Revocations.from(old, to: opened).isEmpty)
        let renamed = document([route("p1-dc1", "a"), route("p2", "b", isPublic: true)])
        #expect(Revocations.from(old, to: renamed).isEmpty)
    }

    @Test func `a route that is gone, closed, or another's puts out who came in`() {
        let old = document([route("p1", "a"), route("p2", "b", isPublic: true)])
        let gone = Revocations.from(old, to: document([route("p2", "b", isPublic: true)]))
        #expect(gone == [old.routes[0]])
        let closed = Revocations.from(old, to: document([route("p1", "a"), route("p2", "b")]))
        #expect(closed == [old.routes[1]])
        let taken = Revocations.from(old, to: document([route("p1", "c"), route("p2", "b", isPublic: true)]))
        #expect(taken == [old.routes[0]])
    }

    @Test func `a new password puts out who came in with the old one`() {
        let old = document([route("p1", "a"), route("p2", "b", isPublic: true)])
        let new = document(old.routes, hash: "other")
        #expect(Revocations.from(old, to: new).map(\.id) == ["p1"])
    }
}
