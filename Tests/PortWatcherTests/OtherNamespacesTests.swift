import Containers
import Glibc
import ProcFS
import Testing

@testable import PortWatcher
@testable import TestSupport

@Suite(.serialized, .enabled(if: geteuid() == 0, "needs root to make namespaces"))
struct OtherNamespacesTests {
    private static let container = ["--pid", "--net", "--fork", "--kill-child"]
    private let scanner = PortScanner(procfs: ProcFileSystem())
    private let own: UInt64

    init() throws { own = try ProcFileSystem().networkNamespace() }

    private func observation(
        of process: NamespaceProcess, in scan: PortScan
    ) -> PortScan.Observation? {
        scan.observations.first { Int($0.listener.port) == process.output.first && $0.namespace != own }
    }

    @Test("A listener in namespaces of its own is found, with its process, entrance and creator")
    func container() async throws {
        let process = try NamespaceProcess(Self.container)
        let seen = try #require(await observation(of: process, in: scanner.scan()))
        #expect(seen.listener.address == .anyIPv4)
        #expect(seen.process?.command.contains(NamespaceProcess.listener) == true)
        let container = try #require(seen.container)
        #expect(container.runtime == .unknown && container.id == "" && container.creatorUID == 0)
        #expect(container.name.hasPrefix("ns"))
        #expect(!seen.isForwarder)
        guard case .process(let pid, let startTime) = seen.entrance else {
            Issue.record("\(seen)")
            return
        }
        let procfs = ProcFileSystem()
        #expect(try procfs.namespace(.network, of: pid) == seen.namespace)
        #expect(try procfs.startTime(of: pid) == startTime)
        // Nothing changes by itself.
        for depth in [ScanDepth.quick, .whole, .verifying] {
            #expect(await observation(of: process, in: scanner.scan(depth: depth)) == seen)
        }
        // No bridge leads there.
        #expect(seen.hostAddress == nil)
        process.end()
    }

    @Test("A network namespace without a pid namespace is no container")
    func networkOnly() async throws {
        let process = try NamespaceProcess(["--net"])
        let seen = try #require(await observation(of: process, in: scanner.scan()))
        #expect(seen.container == nil)
        #expect(seen.entrance != nil)
        process.end()
    }

    @Test("The creator of a user's container is that user, also where another user namespace lies between")
    func creator() async throws {
        let asUser = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
        let nested = ["--user", "--map-root-user", "unshare", "--user"]
        for options in [["--user"], nested] {
            let process = try NamespaceProcess(options + Self.container, prefix: asUser)
            let seen = try #require(await observation(of: process, in: scanner.scan()))
            #expect(seen.container?.creatorUID == 54321)
            process.end()
        }
    }

    @Test("A namespace that ends takes its listeners along at once")
    func vanished() async throws {
        let process = try NamespaceProcess(Self.container)
        let start = SuspendingClock().now
        var changes = PortChanges()
        let first = await scanner.scan()
        let namespace = try #require(observation(of: process, in: first)).namespace
        _ = changes.observe(first, at: start)
        process.end()
        let scan = await scanner.scan()
        #expect(scan.absence(at: PortScan.Place(namespace: namespace, table: .ipv4)) == .namespaceGone)
        let outcome = changes.observe(scan, at: start.advanced(by: .milliseconds(1)))
        #expect(outcome.snapshot?.contains { $0.identity.namespace == namespace } == false)
    }

    @Test(
        "A namespace that a mount alone holds is looked into, and the owner of its socket is found elsewhere")
    func mounted() async throws {
        let folder = try TemporaryTree()
        defer { withExtendedLifetime(folder) {} }
        let path = "\(folder.root)/a \\b"
        try folder.write("", to: "a \\b")
        let mounted = try MountedNamespaceWithListener(at: path)
        defer { mounted.end() }
        // A table is no snapshot: while others open and close sockets a row can be missed, as the service's second look knows.
        var looks: [PortScan] = []
        while looks.count < 3,
            looks.last?.observations.contains(where: { $0.listener.inode == mounted.inode }) != true
        {
            looks.append(await scanner.scan())
        }
        let seen = try #require(
            looks.last?.observations.first { $0.listener.inode == mounted.inode },
            "gaps \(looks.map(\.gaps)), unread \(looks.map(\.unreadNamespaces))")
        #expect(seen.entrance == .mount(path: path))
        #expect(seen.listener.port == mounted.port)
        #expect(seen.namespace != own)
        #expect(seen.process?.pid == getpid())
        // The thread that looked left nothing behind.
        #expect(try ProcFileSystem().namespace(.network, of: .currentThread) == own)
        mounted.end()
        let scan = await scanner.scan()
        #expect(!scan.observations.contains { $0.listener.inode == mounted.inode })
        #expect(scan.absence(at: PortScan.Place(namespace: seen.namespace, table: .ipv4)) == .namespaceGone)
    }

    @Test("A process that moves into a namespace shortly after its start is followed there")
    func moved() async throws {
        let start = SuspendingClock().now
        let program = """
            import os, socket, sys, ctypes
            print(os.getpid(), flush=True)
            sys.stdin.readline()
            ctypes.CDLL(None).unshare(0x40000000)
            s = socket.socket()
            s.listen()
            print(s.getsockname()[1], flush=True)
            sys.stdin.read()
            """
        let process = try NamespaceProcess([], program: program)
        _ = await scanner.scan(at: start)
        try process.proceed()
        let seen = await scanner.scan(at: start.advanced(by: .milliseconds(500)))
        #expect(observation(of: process, in: seen) != nil)
        process.end()
    }

    @Test("1,000 listeners that open at once are all in one scan, with their owner")
    func manyListeners() async throws {
        let program = """
            import resource, socket, sys
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
            sockets = [socket.socket() for _ in range(1000)]
            for s in sockets: s.listen()
            print(sockets[0].getsockname()[1], flush=True)
            sys.stdin.read()
            """
        let process = try NamespaceProcess(Self.container, program: program)
        let scan = await scanner.scan()
        let namespace = try #require(observation(of: process, in: scan)).namespace
        let all = scan.observations.filter { $0.namespace == namespace }
        #expect(all.count == 1000)
        #expect(all.allSatisfy { $0.process != nil && $0.container == all[0].container })
        process.end()
    }

    @Test("In a namespace with 50,000 sockets no listener is lost, nor elsewhere")
    func manySockets() async throws {
        // Each connection leaves two sockets: one waits for its time, one to be accepted.
        let program = """
            import fcntl, socket, struct, sys
            link = socket.socket()
            fcntl.ioctl(link, 0x8914, struct.pack("16sh", b"lo", 1))
            listeners = [socket.socket() for _ in range(25)]
            for s in listeners:
                s.bind(("127.0.0.1", 0))
                s.listen(1100)
                for _ in range(1001): socket.create_connection(s.getsockname()).close()
            with open("/proc/self/net/tcp") as table: rows = sum(1 for _ in table)
            print(listeners[0].getsockname()[1], rows, flush=True)
            sys.stdin.read()
            """
        let busy = try NamespaceProcess(Self.container, program: program)
        let quiet = try NamespaceProcess(Self.container)
        try #require(busy.output.count == 2 && busy.output[1] > 50_000)
        let scan = await scanner.scan()
        let namespace = try #require(observation(of: busy, in: scan)).namespace
        #expect(scan.observations.count { $0.namespace == namespace } == 25)
        #expect(observation(of: quiet, in: scan) != nil)
        #expect(scan.gaps.keys.allSatisfy { $0.namespace != namespace })
        busy.end()
        quiet.end()
    }

    @Test(
        "A container's listener behind a bridge of this machine has an address here, unless another has it too"
    )
    func bridge() async throws {
        // Of the range for benchmarks (RFC 2544), so that no route of the machine is hurt.
        let bridge = "smb\(getpid())"
        try run("ip link add \(bridge) type bridge")
        defer { try? run("ip link del \(bridge)") }
        try run("ip addr add 198.18.77.1/24 dev \(bridge)")
        try run("ip link set \(bridge) up")
        let process = try NamespaceProcess(Self.container)
        let pid = try #require(await observation(of: process, in: scanner.scan())?.process?.pid)
        try run("ip link add \(bridge)v type veth peer name eth0 netns \(pid)")
        try run("ip link set \(bridge)v master \(bridge) up")
        for command in ["ip addr add 198.18.77.2/24 dev eth0", "ip link set eth0 up"] {
            try run("nsenter --net=/proc/\(pid)/ns/net \(command)")
        }
        let seen = try #require(await observation(of: process, in: scanner.scan(depth: .verifying)))
        #expect(seen.hostAddress == IPAddress("198.18.77.2"))
        // A user's own namespace may claim the address without being in the way; another of root's is.
        let asUser = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
        for (options, prefix, address) in [
            (["--user", "--map-root-user", "--net"], asUser, IPAddress("198.18.77.2")), (["--net"], [], nil),
        ] {
            let copy = try NamespaceProcess(options, prefix: prefix)
            let other = try #require(await observation(of: copy, in: scanner.scan())?.process?.pid)
            for command in ["ip link set lo up", "ip addr add 198.18.77.2/32 dev lo"] {
                try run("nsenter --net=/proc/\(other)/ns/net \(command)")
            }
            let scan = await scanner.scan(depth: .verifying)
            #expect(try #require(observation(of: process, in: scan)).hostAddress == address)
            #expect(try #require(observation(of: copy, in: scan)).hostAddress == nil)
            copy.end()
        }
        process.end()
    }

    private func run(_ command: String) throws {
        var arguments: [UnsafeMutablePointer<CChar>?] =
            "env \(command)".split(separator: " ").map { strdup(String($0)) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid = pid_t()
        try #require(posix_spawnp(&pid, "/usr/bin/env", nil, nil, &arguments, environ) == 0)
        var status: Int32 = 0
        try #require(waitpid(pid, &status, 0) == pid && status == 0, "\(command)")
    }
}
