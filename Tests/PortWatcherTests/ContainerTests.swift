import Containers
import ProcFS
import Testing

@testable import PortWatcher
@testable import TestSupport

@Suite struct ContainerTests {
    private static let id = String(repeating: "0123456789abcdef", count: 4)
    private static let other = String(repeating: "fedcba9876543210", count: 4)

    // MARK: - Cgroup paths

    @Test(
        "A cgroup path names runtime, id and name of the outermost container",
        arguments: [
            ("/system.slice/docker-\(id).scope", Container.Runtime.docker, id, nil as String?),
            ("/docker/\(id)", .docker, id, nil),
            ("/docker/\(id)/docker/\(other)", .docker, id, nil),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-\(id).scope/container",
                .podman, id, nil
            ),
            ("/machine.slice/libpod-\(id).scope/system.slice/docker-\(other).scope", .podman, id, nil),
            ("/libpod_parent/libpod-\(id)", .podman, id, nil),
            ("/kubepods.slice/pod1.slice/cri-containerd-\(id).scope", .containerd, id, nil),
            ("/machine.slice/machine-web\\x2dserver.scope/payload/init.scope", .nspawn, "", "web-server"),
            ("/machine.slice/systemd-nspawn@web.service/payload", .nspawn, "", "web"),
            ("/lxc.payload.web/init.scope", .lxc, "", "web"),
        ])
    func controlGroups(path: String, runtime: Container.Runtime, id: String, name: String?) {
        #expect(
            ContainerEvidence.claim(cgroup: path, own: "/system.slice/samd.service")
                == ContainerEvidence.Claim(runtime: runtime, id: id, name: name))
    }

    @Test(
        "Other paths name none",
        arguments: [
            "", "/", "/user.slice/session-1.scope", "/docker/short", "/docker-.scope", "/lxc.payload.",
            "/machine-.scope",
            "/system.slice/docker-\(id.uppercased()).scope", "/machine.slice/libpod-conmon-\(id).scope",
        ])
    func otherControlGroups(path: String) { #expect(ContainerEvidence.claim(cgroup: path, own: nil) == nil) }

    @Test("A container that the daemon itself runs in does not count")
    func ownContainer() {
        let own = "/docker/\(Self.id)/system.slice/samd.service"
        #expect(ContainerEvidence.claim(cgroup: "/docker/\(Self.id)/user.slice", own: own) == nil)
        #expect(
            ContainerEvidence.claim(cgroup: "/docker/\(Self.id)/docker/\(Self.other)", own: own)?.id
                == Self.other)
    }

    @Test("A text is cut at 128 bytes, between characters")
    func bounded() {
        #expect(ContainerEvidence.bounded(String(repeating: "x", count: 1000)).utf8.count == 128)
        #expect(ContainerEvidence.bounded("x" + String(repeating: "ü", count: 100)).utf8.count == 127)
    }

    // MARK: - Processes

    private let proc: FakeProc
    private var finder: ContainerFinder

    init() throws {
        proc = try FakeProc()
        finder = ContainerFinder(procfs: proc.procfs, dockerRoot: "\(proc.files.root)/docker")
    }

    private func addMonitor(_ pid: Int32, _ name: String, _ command: [String], uid: UInt32 = 0) throws {
        try proc.addProcess(pid, holding: 1, name: name, command: command, uid: uid)
        try proc.contain(pid, pidNamespace: 1)
    }

    @Test("A process of the daemon's own pid namespace is in no container")
    mutating func noContainer() throws {
        try proc.addProcess(10, holding: 99)
        try proc.contain(10, pidNamespace: 1, cgroup: "/docker/\(Self.id)")
        #expect(finder.container(of: 10, startTime: 100) == nil)
        #expect(finder.container(of: 11, startTime: 100) == nil)
    }

    @Test("Docker's name comes from docker's file, of its outermost object only")
    mutating func docker() throws {
        let file =
            #"{"State":{"Name":"/a"},"Config":{"Env":["x=\"Name\":\"/b\""]},"Name":"/web","MountPoints":{"/d":{"Name":"c"}}}"#
        try proc.files.write(file, to: "docker/containers/\(Self.id)/config.v2.json")
        try proc.addProcess(10, holding: 99)
        try proc.contain(10, cgroup: "/system.slice/docker-\(Self.id).scope")
        #expect(
            finder.container(of: 10, startTime: 100)
                == Container(runtime: .docker, id: Self.id, name: "web", creatorUID: 0))
        // Without the file, the id's beginning.
        try proc.addProcess(11, holding: 99)
        try proc.contain(11, cgroup: "/docker/\(Self.other)")
        #expect(finder.container(of: 11, startTime: 100)?.name == "fedcba987654")
    }

    @Test("Without cgroups, the shim among the ancestors tells of docker and of containerd")
    mutating func shim() throws {
        try proc.files.write(#"{"Name":"/web"}"#, to: "docker/containers/\(Self.id)/config.v2.json")
        let shim = [
            "/usr/bin/containerd-shim-runc-v2", "-namespace", "moby", "-id", Self.id, "-address",
            "/run/x.sock",
        ]
        try addMonitor(9, "containerd-shim", shim)
        try proc.addProcess(10, holding: 99, parent: 9)
        try proc.contain(10)
        try proc.addProcess(11, holding: 99, parent: 10)
        try proc.contain(11)
        for pid in [10, 11] {
            #expect(
                finder.container(of: Int32(pid), startTime: 100)
                    == Container(runtime: .docker, id: Self.id, name: "web", creatorUID: 0))
        }
        try addMonitor(19, "containerd-shim", ["shim", "-namespace", "default", "-id", "job"])
        try proc.addProcess(20, holding: 99, parent: 19)
        try proc.contain(20)
        #expect(
            finder.container(of: 20, startTime: 100)
                == Container(runtime: .containerd, id: "job", name: "job", creatorUID: 0))
    }

    @Test("conmon tells podman's name where the cgroup tells its id")
    mutating func podman() throws {
        try addMonitor(
            9, "conmon", ["/usr/bin/conmon", "--api-version", "1", "-c", Self.id, "-u", Self.id, "-n", "web"])
        try proc.addProcess(10, holding: 99, parent: 9)
        try proc.contain(10, cgroup: "/machine.slice/libpod-\(Self.id).scope")
        #expect(
            finder.container(of: 10, startTime: 100)
                == Container(runtime: .podman, id: Self.id, name: "web", creatorUID: 0))
    }

    @Test(
        "A command line is believed only of root's processes outside, and a creator who is unknown is nobody")
    mutating func unbelieved() throws {
        let command = ["conmon", "-c", Self.id, "-n", "web"]
        try addMonitor(9, "conmon", command, uid: 1000)
        // Inside of the container anyone may be called conmon.
        try proc.addProcess(10, holding: 99, parent: 9, name: "conmon", command: command, uid: 0)
        try proc.contain(10)
        try proc.addProcess(11, holding: 99, parent: 10)
        try proc.contain(11)
        #expect(
            finder.container(of: 11, startTime: 100)
                == Container(runtime: .unknown, id: "", name: "ns11", creatorUID: 0))
        // A recorded tree cannot tell who made another user namespace.
        try proc.addProcess(12, holding: 99)
        try proc.contain(12, user: 22)
        #expect(finder.container(of: 12, startTime: 100)?.creatorUID == Container.unknownCreator)
    }

    @Test("A cycle of parents, as a recorded tree may have, ends")
    mutating func cycle() throws {
        try proc.addProcess(10, holding: 99, parent: 11)
        try proc.contain(10)
        try proc.addProcess(11, holding: 99, parent: 10)
        try proc.contain(11)
        #expect(finder.container(of: 10, startTime: 100)?.name == "ns11")
    }

    // MARK: - Forwarders

    private func scanned() async -> [PortScan.Observation] {
        var settings = PortWatchSettings()
        settings.dockerRoot = "\(proc.files.root)/docker"
        return await PortScanner(procfs: proc.procfs, settings: settings).scan().observations
    }

    @Test("conmon that listens in the daemon's namespace does so for its container, root's and a user's")
    func conmonForwards() async throws {
        for uid: UInt32 in [0, 1000] {
            let pid = Int32(uid + 10)
            try proc.setRows(Sample.row(port: 8080, uid: uid, inode: 99))
            try proc.addProcess(
                pid, holding: 99, name: "conmon", command: ["conmon", "-c", Self.id, "-n", "web"], uid: uid)
            try proc.contain(pid, pidNamespace: 1)
            let seen = try #require(await scanned().first)
            #expect(seen.isForwarder)
            #expect(seen.container == Container(runtime: .podman, id: Self.id, name: "web", creatorUID: uid))
            #expect(seen.entrance == nil && seen.hostAddress == nil)
        }
    }

    @Test("A process that is neither root's nor the listener's user's forwards for nobody")
    func foreignForwarder() async throws {
        try proc.setRows(
            Sample.row(port: 8080, uid: 1000, inode: 99) + Sample.row(port: 8081, uid: 1001, inode: 98))
        try proc.addProcess(
            10, holding: 99, name: "docker-proxy", command: ["docker-proxy", "-container-ip", "172.17.0.2"])
        try proc.addProcess(11, holding: 98, name: "conmon", command: ["conmon", "-c", Self.id])
        for pid: Int32 in [10, 11] { try proc.contain(pid, pidNamespace: 1) }
        for seen in await scanned() { #expect(seen.container == nil && !seen.isForwarder) }
    }

    @Test("docker-proxy without a container that has its address is known by the address")
    func dockerProxy() async throws {
        try proc.setRows(Sample.row(port: 8080, uid: 0, inode: 99))
        try proc.addProcess(
            10, holding: 99, name: "docker-proxy",
            command: [
                "/usr/bin/docker-proxy", "-proto", "tcp", "-container-ip", "172.17.0.2", "-container-port",
                "80",
            ],
            uid: 0)
        try proc.contain(10, pidNamespace: 1)
        let seen = try #require(await scanned().first)
        #expect(seen.isForwarder)
        #expect(seen.container == Container(runtime: .docker, id: "", name: "172.17.0.2", creatorUID: 0))
    }

    @Test("A user's pasta forwards for the container in the namespace that it holds open")
    func pasta() async throws {
        try proc.setRows(Sample.row(port: 8080, uid: 1000, inode: 99))
        try proc.addProcess(
            10, holding: 99, name: "pasta.avx2", command: ["/usr/bin/pasta", "--netns", "/run/x"])
        try proc.contain(10, pidNamespace: 1)
        try proc.files.link("10/fd/9", to: "net:[8]")
        let unknown = try #require(await scanned().first)
        #expect(
            unknown.container == Container(runtime: .unknown, id: "", name: "pasta.avx2", creatorUID: 1000))
        // Another's container is not taken for its own.
        try proc.addProcess(20, holding: 98, namespace: 8, rows: "")
        try proc.contain(20, cgroup: "/docker/\(Self.id)")
        #expect(await scanned().first?.container?.id == "")
    }
}
