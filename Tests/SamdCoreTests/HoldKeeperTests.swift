import FoundationEssentials
import Glibc
import IdleDetector
import ProcFS
import Synchronization
import Testing

@testable import SamdCore
@testable import TestSupport

/// A keeper whose clocks, processes and disk the test decides.
final class KeeperFixture: Sendable {
    let log = quietLog()
    let keeper: HoldKeeper
    private let world: World

    private final class World: Sendable {
        struct State {
            var present = Present(moment: Moment(milliseconds: 0), wall: Date(timeIntervalSince1970: 0))
            var gone: Set<BoundProcess> = []
            var saved: [SavedHolds] = []
            var diskIsFull = false
            var changes: [[String]] = []
            var nextID = 0
        }
        let state = Mutex(State())
    }

    init(saved: SavedHolds? = nil, bootID: String = "boot") {
        let world = World()
        self.world = world
        keeper = HoldKeeper(
            saved: saved, cap: .seconds(3600), bootID: bootID, log: log,
            effects: HoldEffects(
                now: { world.state.withLock { $0.present } },
                isRunning: { process in world.state.withLock { !$0.gone.contains(process) } },
                save: { saved in
                    try world.state.withLock { state throws(FileError) in
                        if state.diskIsFull { throw FileError("write", "holds.json", code: ENOSPC) }
                        state.saved.append(saved)
                    }
                },
                newID: {
                    world.state.withLock { state in
                        state.nextID += 1
                        // Each name comes twice, as chance may have it.
                        return "h\((state.nextID + 1) / 2)"
                    }
                },
                onChange: { signals in world.state.withLock { $0.changes.append(signals.map(\.id)) } }))
    }

    func advance(seconds: Int64, wall: Double? = nil) {
        world.state.withLock { state in
            state.present.moment = state.present.moment + .seconds(seconds)
            state.present.wall.addTimeInterval(wall ?? Double(seconds))
        }
    }

    func end(_ process: BoundProcess) { world.state.withLock { _ = $0.gone.insert(process) } }
    func fillDisk() { world.state.withLock { $0.diskIsFull = true } }
    var saved: [SavedHolds] { world.state.withLock { $0.saved } }
    var changes: [[String]] { world.state.withLock { $0.changes } }
    var events: [String] { log.events(after: 0).map { "\($0.type) \($0.data["cause"] ?? "")" } }
}

@Suite struct HoldKeeperTests {
    private let fixture = KeeperFixture()
    private let dev = Holder(uid: 1000, user: "dev", pid: 42)
    private let process = BoundProcess(pid: 42, startTime: 7)

    @Test func `what is taken is on disk, told, and listed with what is left`() async throws {
        let request = HoldRequest(reason: "migration", duration: .seconds(60))
        let hold = try await fixture.keeper.take(request, by: dev, process: nil)
        #expect(hold.until == "1970-01-01T00:01:00.000Z" && hold.leftSeconds == 60 && hold.by == dev)
        #expect(fixture.saved.last?.entries.map(\.hold.id) == ["h1"] && fixture.changes == [["hold:h1"]])
        let event = try #require(fixture.log.events(after: 0).first)
        #expect(event.type == "hold.taken" && event.data["hold"] == "h1" && event.data["user"] == "dev")
        #expect(event.message == "dev keeps this machine until 1970-01-01T00:01:00.000Z: migration")
        fixture.advance(seconds: 10)
        #expect(await fixture.keeper.list().holds.map(\.leftSeconds) == [50])
        _ = try await fixture.keeper.take(request, by: dev, process: nil)
        #expect(await fixture.keeper.list().holds.map(\.id) == ["h1", "h2"], "names do not repeat")
    }

    @Test func `a hold ends when its time is up, its process is gone, or somebody gives it back`()
        async throws
    {
        let keeper = fixture.keeper
        _ = try await keeper.take(HoldRequest(duration: .seconds(60)), by: dev, process: nil)
        _ = try await keeper.take(HoldRequest(whileProcess: true), by: dev, process: process)
        _ = try await keeper.take(HoldRequest(duration: .seconds(600)), by: dev, process: nil)
        fixture.advance(seconds: 60)
        #expect(await keeper.signals().count == 2)
        fixture.end(process)
        await keeper.expire()
        let released = try await keeper.release("h3", by: dev, mayReleaseAny: false)
        #expect(released.leftSeconds == 540)
        #expect(
            fixture.events == [
                "hold.taken ", "hold.taken ", "hold.taken ", "hold.released expired",
                "hold.released process ended", "hold.released released",
            ])
        #expect(fixture.changes.last == [] && fixture.saved.last?.entries.isEmpty == true)
    }

    @Test func `while nothing changes nothing is written`() async throws {
        _ = try await fixture.keeper.take(HoldRequest(duration: .seconds(600)), by: dev, process: nil)
        for _ in 0..<10 {
            fixture.advance(seconds: 5)
            await fixture.keeper.expire()
        }
        #expect(fixture.saved.count == 1 && fixture.changes.count == 1)
    }

    @Test func `a wall clock that is set brings the file up to date, so that a reboot counts right`()
        async throws
    {
        _ = try await fixture.keeper.take(HoldRequest(duration: .seconds(600)), by: dev, process: nil)
        fixture.advance(seconds: 5, wall: 5000)
        await fixture.keeper.expire()
        #expect(fixture.saved.last?.entries.map(\.until) == [5595])
    }

    @Test func `a hold that cannot be saved is refused, and nothing holds`() async {
        fixture.fillDisk()
        await #expect {
            try await fixture.keeper.take(HoldRequest(duration: .seconds(60)), by: dev, process: nil)
        } throws: {
            ($0 as? ProblemDetails)?.type == "urn:samd:problem:not-saved"
        }
        #expect(await fixture.keeper.signals().isEmpty && fixture.changes.isEmpty)
    }

    @Test func `holds survive a restart of samd, and the machine's but for those of processes`() async throws
    {
        let keeper = fixture.keeper
        _ = try await keeper.take(HoldRequest(duration: .seconds(60)), by: dev, process: nil)
        _ = try await keeper.take(HoldRequest(whileProcess: true), by: dev, process: process)
        let folder = try TemporaryTree()
        let file = StateFile<SavedHolds>(path: "\(folder.root)/holds.json", version: 1)
        try file.save(try #require(fixture.saved.last))
        guard case .value(let saved) = try file.load() else {
            Issue.record("nothing was read back")
            return
        }
        let restarted = KeeperFixture(saved: saved)
        #expect(await restarted.keeper.list() == keeper.list())
        let rebooted = KeeperFixture(saved: saved, bootID: "next")
        #expect(await rebooted.keeper.list().holds.map(\.id) == ["h1"])
        #expect(rebooted.events == ["hold.released process ended"])
        #expect(rebooted.saved.last?.bootID == "next")
    }
}

@Suite struct HolderFinderTests {
    private struct Users: UserDatabase {
        func uid(of name: String) -> UInt32? { nil }
        func name(of uid: UInt32) -> String? { uid == 1000 ? "dev" : nil }
    }

    private func stat(_ pid: Int32, parent: Int32, state: String = "S", start: Int = 9) -> String {
        "\(pid) (x) \(state) \(parent) 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 \(start) 0 0\n"
    }

    @Test func `a peer is named, with the agent above it`() throws {
        let tree = try TemporaryTree()
        try tree.write(stat(30, parent: 20), to: "30/stat")
        try tree.write("samd\u{1B}[2J\n", to: "30/comm")
        try tree.write(stat(20, parent: 10), to: "20/stat")
        try tree.write("bash\n", to: "20/comm")
        try tree.write(stat(10, parent: 1), to: "10/stat")
        try tree.write("claude\n", to: "10/comm")
        let finder = HolderFinder(procfs: ProcFileSystem(root: tree.root), users: Users())
        let peer = Peer(pid: 30, uid: 1000, gid: 1000, isOnHost: true, startTime: 9)
        #expect(
            finder.holder(of: peer)
                == Holder(uid: 1000, user: "dev", pid: 30, command: "samd [2J", isAgent: true))
        let human = Peer(pid: 10, uid: 1000, gid: 1000, isOnHost: true, startTime: 9)
        #expect(finder.holder(of: human).isAgent == nil)
    }

    @Test func `who is not on the host is never taken for it`() throws {
        let tree = try TemporaryTree()
        let finder = HolderFinder(procfs: ProcFileSystem(root: tree.root), users: Users())
        let gone = Peer(pid: 30, uid: 0, gid: 0, isOnHost: false)
        #expect(finder.holder(of: gone) == Holder(uid: 0, pid: 30, container: Holder.unknownContainer))
    }

    @Test func `a process runs until it is gone, a zombie, or another one of its number`() throws {
        let tree = try TemporaryTree()
        let finder = HolderFinder(procfs: ProcFileSystem(root: tree.root), users: Users())
        let process = BoundProcess(pid: 30, startTime: 9)
        #expect(!finder.isRunning(process))
        try tree.write(stat(30, parent: 1), to: "30/stat")
        #expect(finder.isRunning(process))
        #expect(!finder.isRunning(BoundProcess(pid: 30, startTime: 8)))
        try tree.write("garbage", to: "30/stat")
        #expect(finder.isRunning(process), "what cannot be read ends nothing")
        try tree.write(stat(30, parent: 1, state: "Z"), to: "30/stat")
        #expect(!finder.isRunning(process))
    }
}
