import Glibc
import NamespaceRelay
import Supervision
import Testing

@testable import TestSupport

/// What a process has open. Counted in processes of their own, where nothing else runs.
struct ResourceTests {
    @Test func `Descriptors and threads are as before after a thousand connections`() async {
        await #expect(processExitsWith: .success) {
            let namespace = try Namespace()
            defer { namespace.remove() }
            let server = try await EchoServer(in: namespace)
            let path = try await onThread { try TemporaryDirectory() }
            defer { path.remove() }
            try await openClocks()
            let before = try count("/proc/self/fd")
            let relays = NamespaceRelays(
                monitor: ServiceMonitor(name: "relays"), folder: "\(path.path)/relay",
                mayConnect: { _ in true })
            let task = Task { try await relays.run() }
            let socket = try #require(relays.set([namespace.target(server.port)])["web"]).get()
            let atRest = try count("/proc/self/fd")
            for _ in 0..<10 {
                try await onThread {
                    let clients = try (0..<100).map { _ in try connect(to: socket) }
                    for client in clients { try client.echo("hello") }
                    for client in clients { client.close() }
                }
            }
            // The server's own ends are in this process, too.
            try await eventually("the descriptors are as before") { try count("/proc/self/fd") == atRest }
            #expect(relays.statistics()["web"]?.connections == 1000)
            #expect(try count("/proc/self/task", containing: "samd-") == 2)
            task.cancel()
            try await task.value
            #expect(try count("/proc/self/fd") == before)
            #expect(try count("/proc/self/task", containing: "samd-") == 0)
        }
    }

    @Test func `Without descriptors the thread does not spin, and goes on when there are some`() async {
        await #expect(processExitsWith: .success) {
            let namespace = try Namespace()
            defer { namespace.remove() }
            let server = try await EchoServer(in: namespace)
            let directory = try TemporaryDirectory()
            defer { directory.remove() }
            let monitor = ServiceMonitor(name: "relays")
            let relays = NamespaceRelays(
                monitor: monitor, folder: "\(directory.path)/relay", mayConnect: { _ in true })
            let task = Task { try await relays.run() }
            let path = try #require(relays.set([namespace.target(server.port)])["web"]).get()
            let client = try connect(to: path)
            try await onThread { try client.echo("one") }
            try await openClocks()
            // One socket is prepared, then every other number is taken.
            let waiting = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            var limit = rlimit(rlim_cur: 128, rlim_max: 128)
            try #require(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            var taken: [Int32] = []
            while case let number = dup(waiting), number >= 0 { taken.append(number) }
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let result = withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    Glibc.connect(
                        waiting, __CONST_SOCKADDR_ARG(__sockaddr__: $0),
                        socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(result == 0)
            try await eventually("it is told") { monitor.snapshot().health.isDegraded }
            let before = processorMilliseconds()
            try await Task.sleep(for: .seconds(1))
            #expect(processorMilliseconds() - before < 200)
            try await onThread { try client.echo("the old one goes on") }
            for number in taken { close(number) }
            try await onThread { try Connection(socket: waiting).echo("at last") }
            try await eventually("it is well") { !monitor.snapshot().health.isDegraded }
            task.cancel()
            try await task.value
        }
    }
}

/// The concurrency library keeps a descriptor for each clock once it was slept by, and dies when it gets none.
func openClocks() async throws {
    try await SuspendingClock().sleep(for: .milliseconds(1))
    try await ContinuousClock().sleep(for: .milliseconds(1))
}

/// How many entries a folder of /proc/self has, the one that is open for this not counted; of a folder with tasks,
/// those with such a name.
func count(_ folder: String, containing name: String? = nil) throws -> Int {
    let stream = try #require(opendir(folder))
    defer { closedir(stream) }
    var count = 0
    while let entry = readdir(stream) {
        guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { break }
        let number = String(cString: (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self))
        if number.hasPrefix(".") { continue }
        if let name {
            let file = open("\(folder)/\(number)/comm", O_RDONLY | O_CLOEXEC)
            defer { close(file) }
            var text = [UInt8](repeating: 0, count: 32)
            guard read(file, &text, 32) > 0, String(decoding: text, as: UTF8.self).contains(name) else {
                continue
            }
        }
        count += 1
    }
    return count
}

func processorMilliseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Int(time.tv_sec) * 1000 + Int(time.tv_nsec) / 1_000_000
}
