import Glibc
import Supervision
import Testing

@testable import NamespaceRelay
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
            // Without `run()`: the concurrency library dies when a clock gets no descriptor.
            let relays = NamespaceRelays(
                monitor: ServiceMonitor(name: "relays"), folder: "\(directory.path)/relay",
                mayConnect: { _ in true })
            let path = try #require(relays.set([namespace.target(server.port)])["web"]).get()
            try await onThread {
                let client = try connect(to: path)
                try client.echo("one")
                // One socket is prepared, then every other number is taken.
                let waiting = try unixSocket()
                var limit = rlimit(rlim_cur: 128, rlim_max: 128)
                try #require(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
                var taken: [Int32] = []
                while case let number = dup(waiting), number >= 0 { taken.append(number) }
                try connect(waiting, to: path)
                while relays.condition()?.trouble == nil { usleep(1000) }
                #expect(relays.condition()?.trouble?.cause == .outOfDescriptors)
                let before = processorMilliseconds()
                sleep(1)
                #expect(processorMilliseconds() - before < 200)
                try client.echo("the old one goes on")
                for number in taken { close(number) }
                try Connection(socket: waiting).echo("at last")
                #expect(relays.condition()?.trouble == nil)
            }
            withExtendedLifetime(relays) {}
        }
    }
}

/// How many entries a folder of /proc/self has; of a folder with tasks, those with such a name. Clocks do not count: the
/// concurrency library opens and closes them as it likes.
func count(_ folder: String, containing name: String? = nil) throws -> Int {
    let stream = try #require(opendir(folder))
    defer { closedir(stream) }
    var count = 0
    while let entry = readdir(stream) {
        guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { break }
        let number = String(cString: (UnsafeRawPointer(entry) + offset).assumingMemoryBound(to: CChar.self))
        if number.hasPrefix(".") { continue }
        var target = [UInt8](repeating: 0, count: 64)
        let length = readlink("\(folder)/\(number)", &target, 64)
        if String(decoding: target.prefix(max(0, length)), as: UTF8.self).hasSuffix("[timerfd]") { continue }
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
