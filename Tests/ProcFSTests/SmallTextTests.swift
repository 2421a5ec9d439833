import Glibc
import Testing

@testable import ProcFS
@testable import TestSupport

@Suite struct SmallTextTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    // MARK: - mountinfo

    private func mounts(_ text: String) -> [MountedNamespace] {
        MountInfoParser.networkNamespaces(bytes(text).span)
    }

    @Test("Network namespaces among the mounts are found, their paths decoded, each once")
    func mountInfo() {
        let text = #"""
            22 28 0:21 / /sys rw,nosuid - sysfs sysfs rw
            66 46 0:4 net:[4026532249] /run/netns/web\040one rw shared:2 - nsfs nsfs rw
            67 46 0:4 net:[4026532249] /run/netns/again rw - nsfs nsfs rw
            68 46 0:4 mnt:[4026532250] /run/snapd/ns/x rw - nsfs nsfs rw
            69 46 0:4 net:[4026532251] /run/a\134b\011c rw shared:2 master:1 propagate_from:3 - nsfs nsfs rw
            70 46 0:4 net:[4026532252] /home/net rw - ext4 /dev/sda rw
            """#
        #expect(
            mounts(text) == [
                MountedNamespace(inode: 4_026_532_249, path: "/run/netns/web one"),
                MountedNamespace(inode: 4_026_532_251, path: "/run/a\\b\tc"),
            ])
    }

    @Test(
        "Lines of another shape are passed over",
        arguments: [
            "", "66", "66 46 0:4 net:[ /x rw - nsfs", "66 46 0:4 net:[] /x rw - nsfs",
            "66 46 0:4 net:[1] /x rw",
            "66 46 0:4 net:[1] x rw - nsfs", "66 46 0:4 net:[1] /x rw - ",
            "66 46 0:4 net:[1x] /x rw - nsfs nsfs",
            "66 46 0:4 net:[1] /x\\000y rw - nsfs", "66 46 0:4 net:[99999999999999999999] /x rw - nsfs",
        ])
    func garbledMounts(line: String) {
        #expect(mounts(line + "\n66 46 0:4 net:[7] /x rw - nsfs nsfs rw\n").map(\.inode) == [7])
    }

    @Test("No more namespaces are kept than the bound")
    func manyMounts() {
        let text = (1...3000).map { "66 46 0:4 net:[\($0)] /x rw - nsfs nsfs rw\n" }.joined()
        #expect(mounts(text).count == MountInfoParser.namespaceLimit)
    }

    // MARK: - fib_trie

    @Test("A recorded trie yields the addresses of the namespace itself")
    func fibTrie() throws {
        let text = try TCPTableParserTests.fixture("net-fib_trie")
        let addresses = FIBTrieParser.localAddresses(bytes(text).span)
        #expect(
            addresses
                == Set(["10.88.0.5", "192.0.2.2"].compactMap { IPAddress($0) }))
    }

    @Test(
        "Anything else in a trie is no address",
        arguments: [
            "|-- 10.0.0.1\n /24 host LOCAL\n", "|-- 10.0.0.1\n /32 link BROADCAST\n", "/32 host LOCAL\n",
            "|-- 10.0.0.256\n /32 host LOCAL\n", "|-- 10.0.0\n /32 host LOCAL\n",
            "|-- 10.0.0.0.1\n /32 host LOCAL\n",
            "|-- 10..0.1\n /32 host LOCAL\n", "|-- 0010.0.0.1\n /32 host LOCAL\n", "|--\n /32 host LOCAL\n",
            "|-- 127.0.0.2\n /32 host LOCAL\n", "|-- 10.0.0.1\n|-- x\n /32 host LOCAL\n",
            "|-- 10.0.0.1\n /32 host",
        ])
    func garbledTrie(text: String) { #expect(FIBTrieParser.localAddresses(bytes(text).span) == []) }

    // MARK: - route

    @Test("Recorded routes are read, those that are down left out")
    func routes() throws {
        let text = try TCPTableParserTests.fixture("net-route")
        #expect(
            RouteTableParser.parse(bytes(text + "eth1\t000200C0\t00000000\t0000\t0\t0\t0\t00FFFFFF\n").span)
                == [
                    IPv4Route(device: "eth0", destination: 0, mask: 0, isIndirect: true),
                    IPv4Route(
                        device: "br-web", destination: 0x0a58_0000, mask: 0xffff_0000, isIndirect: false,
                        metric: 7),
                    IPv4Route(device: "eth0", destination: 0xc000_0200, mask: 0xffff_ff00, isIndirect: false),
                ])
    }

    @Test("Too many routes are none")
    func manyRoutes() {
        let row = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        #expect(RouteTableParser.parse(bytes(String(repeating: row, count: 4096)).span)?.count == 4096)
        #expect(RouteTableParser.parse(bytes(String(repeating: row, count: 4097)).span) == nil)
    }

    // MARK: - stat, status, cgroup, sockstat

    @Test("State, parent, session and start stand behind a name that may look like anything")
    func stat() {
        let text = "7 (a) S 1 (b) Z 40 39 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 31337 9 9 9\n"
        let stat = ProcessStat(bytes(text).span)
        #expect(stat == ProcessStat(state: UInt8(ascii: "Z"), parent: 40, session: 41, startTime: 31337))
        #expect(stat?.isZombie == true)
        for cut in ["", "7 (x", "7 (x)", "7 (x) S 1 2", "7 (x) S 1 2 -3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 5"] {
            let stat = ProcessStat(bytes(cut).span)
            #expect(stat == nil)
        }
        // The start time may be the last that there is.
        #expect(
            ProcessStat(bytes("7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 77\n").span)?.startTime
                == 77)
    }

    @Test("The users of a process are the first two of its line")
    func users() throws {
        let users = ProcText.users(bytes("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n").span)
        #expect(users?.real == 1000 && users?.effective == 0)
        for text in ["", "Uid:", "Uid:\t1", "Uid:\tx\t0", "Uid:\t4294967296\t0"] {
            let users = ProcText.users(bytes(text).span)
            #expect(users == nil)
        }
        let own = try #require(try ProcFileSystem().users(of: getpid()))
        #expect(own == (getuid(), geteuid()))
    }

    @Test("The unified tree's path comes first; paths may hold colons")
    func controlGroups() {
        #expect(
            ProcText.controlGroups(bytes("9:name=systemd:/a:b\n4:cpu,cpuacct:/c\n0::/d\nx\n").span)
                == ["/d", "/a:b", "/c"])
        #expect(ProcText.controlGroups(bytes(String(repeating: "1:x:/a\n", count: 100)).span).count == 32)
    }

    @Test("The count of sockets in use is that of TCP alone")
    func socketCounts() {
        let ipv4 = "sockets: used 99\nTCP: inuse 3 orphan 0 tw 5 alloc 7 mem 1\nUDP: inuse 4 mem 0\n"
        #expect(ProcText.socketsInUse(bytes(ipv4).span, in: .ipv4) == 3)
        #expect(ProcText.socketsInUse(bytes("TCP6: inuse 0\n").span, in: .ipv6) == 0)
        #expect(ProcText.socketsInUse(bytes("TCP6: inuse\n").span, in: .ipv6) == nil)
        #expect(ProcText.socketsInUse(bytes(ipv4).span, in: .ipv6) == nil)
    }

    // MARK: - This machine

    @Test("Namespaces, routes and addresses of this machine can be read")
    func thisMachine() throws {
        let procfs = ProcFileSystem()
        let pid = getpid()
        #expect(try procfs.namespace(.process, of: pid) == procfs.namespace(.process, of: .own))
        #expect(procfs.userNamespaceCreator(of: pid) == 0)
        #expect(procfs.userNamespaceCreator(of: pid, owning: .network) == 0)
        #expect(try procfs.processStat(of: pid)?.parent == getppid())
        _ = try procfs.routes()
        _ = try procfs.localAddresses()
        _ = try procfs.mountedNetworkNamespaces()
        #expect(try procfs.namespace(.network, of: 1 << 23) == nil)
    }

    @Test("The count of sockets follows a listener")
    func inUse() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0)
        defer { close(descriptor) }
        try #require(listen(descriptor, 1) == 0)
        #expect(try #require(ProcFileSystem().socketsInUse(in: .ipv4, of: .own)) > 0)
    }
}
