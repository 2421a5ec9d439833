import CaddyConfig
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
                .published(host: "3000--vm.localhost", url: "http://3000--vm.localhost/")
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
    func `of several listeners on one number the most local one has the route and the others are named`()
        throws
    {
        let table = Routing.table(
            for: [
                listener(3000, .anyIPv6), listener(3000, try #require(IPAddress("10.0.0.7"))), listener(3000),
            ],
            policy: RoutingPolicy())
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

    @Test func `the limit counts published ports and lower numbers win`() {
        var policy = RoutingPolicy()
        policy.limit = 2
        let table = Routing.table(for: [listener(3002), listener(3000), listener(3001)], policy: policy)
        #expect(table.routes.map(\.id) == ["p3000", "p3001"])
        #expect(reason(table.ports.last?.decision) == "2 ports are published already")
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
        #expect(policy.url(for: policy.host(for: 3000)) == "http://3000--web-1.localhost:8081/")
    }

    @Test func `behind a proxy URLs are https without a port`() throws {
        let configuration = try Configuration.parse("[caddy]\nbehind_proxy = true\n", file: "t")
        let policy = RoutingPolicy(configuration, hostName: "", ephemeral: 1...2, userID: { _ in nil })
        #expect(policy.url(for: policy.host(for: 3000)) == "https://3000--vm.localhost/")
    }

    @Test(arguments: [("Web_1.example", "web-1"), ("", "vm"), ("--", "vm"), ("ünï", "n"), ("a", "a")])
    func `a host name becomes a label`(name: String, label: String) {
        #expect(RoutingPolicy.label(from: name) == label)
    }
}
