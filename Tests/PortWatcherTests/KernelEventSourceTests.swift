import Glibc
import ProcFS
import Testing

@testable import PortWatcher
@testable import TestSupport

/// Where the test run mounted tracefs, if it did.
let testTracefs: String? = getenv("SAMD_TEST_TRACEFS").map { String(cString: $0) }

@Suite struct KernelEventSourceTests {
    private static let name = "samd-test-\(getpid())"

    private func failure(root: String) -> KernelEventError? {
        do throws(KernelEventError) {
            try KernelEventSource.open(tracefs: root, instance: "samd").close()
            return nil
        } catch {
            return error
        }
    }

    @Test("Without tracefs the error says so and how to mount it")
    func notMounted() throws {
        let tree = try TemporaryTree()
        let error = try #require(failure(root: tree.root))
        #expect(error.cause == .notMounted)
        #expect(error.description == "find \(tree.root)/instances: tracefs is not mounted here")
        #expect(error.hint.contains("mount -t tracefs"))
    }

    @Test("Without the tracepoint the error names it, and no instance is left")
    func noTracepoint() throws {
        let tree = try TemporaryTree()
        try tree.write("", to: "instances/other")
        let error = try #require(failure(root: tree.root))
        #expect(error.cause == .noTracepoint)
        #expect(error.description.hasSuffix("this kernel has no tracepoint sock:inet_sock_set_state"))
        #expect(access("\(tree.root)/instances/samd", F_OK) != 0)
    }

    @Test("A file that is missing in an instance is named")
    func missingFile() throws {
        let tree = try TemporaryTree()
        let event = "instances/samd/events/sock/inet_sock_set_state"
        try tree.write("", to: "\(event)/filter")
        let noPipe = try #require(failure(root: tree.root))
        #expect(noPipe.path.hasSuffix("/trace_pipe"))
        #expect(noPipe.cause == .kernel(Errno(rawValue: ENOENT)))
        try tree.write("", to: "instances/samd/trace_pipe")
        let noSwitch = try #require(failure(root: tree.root))
        #expect(noSwitch.path.hasSuffix("/tracing_on"))
    }

    @Test(
        "Each refusal of the kernel has its own words and a hint",
        arguments: [
            (EACCES, "create /t: not permitted (Permission denied (13))", "run samd as root"),
            (EPERM, "create /t: not permitted (Operation not permitted (1))", "lockdown"),
            (EROFS, "create /t: read-only in this sandbox", "ReadWritePaths=/sys/kernel/tracing/instances"),
            (EBUSY, "create /t: in use by another process", "another samd"),
            (ENOMEM, "create /t: Cannot allocate memory (12)", "dmesg"),
        ])
    func refusals(code: Int32, text: String, hint: String) {
        let error = KernelEventError("create", "/t", Errno(rawValue: code))
        #expect(error.description == text)
        #expect(error.hint.contains(hint))
    }

    @Test(
        "A real kernel tells of listen and close, and nothing is left afterwards",
        .enabled(if: testTracefs != nil, "SAMD_TEST_TRACEFS names no tracefs; ./dev test mounts one as root"))
    func realEvents() async throws {
        let root = try #require(testTracefs)
        let name = Self.name
        let source = try KernelEventSource.open(tracefs: root, instance: name)
        var events = source.events.makeAsyncIterator()
        do {
            let listener = try LoopbackSocket()
            try listener.listen()
            #expect(await events.next() != nil)
        }
        #expect(await events.next() != nil)
        #expect(source.loss == nil)
        source.close()
        source.close()
        while await events.next() != nil {}
        #expect(access("\(root)/instances/\(name)", F_OK) != 0)
    }

    @Test(
        "What a killed daemon left is taken over",
        .enabled(if: testTracefs != nil, "SAMD_TEST_TRACEFS names no tracefs; ./dev test mounts one as root"))
    func takeOver() async throws {
        let root = try #require(testTracefs)
        let name = "\(Self.name)-left"
        let descriptor = try TraceInstance(root: root, name: name).open()
        Glibc.close(descriptor)
        let source = try KernelEventSource.open(tracefs: root, instance: name)
        var events = source.events.makeAsyncIterator()
        let listener = try LoopbackSocket()
        try listener.listen()
        #expect(await events.next() != nil)
        source.close()
        #expect(access("\(root)/instances/\(name)", F_OK) != 0)
    }

    @Test(
        "An accepted connection makes no event of its own",
        .enabled(if: testTracefs != nil, "SAMD_TEST_TRACEFS names no tracefs; ./dev test mounts one as root"))
    func filter() throws {
        let instance = TraceInstance(root: try #require(testTracefs), name: "\(Self.name)-filter")
        let tracePipe = try instance.open()
        defer {
            close(tracePipe)
            instance.remove()
        }
        var listener: LoopbackSocket? = try LoopbackSocket()
        let port = try #require(listener?.port)
        try listener?.listen()
        let client = try LoopbackSocket()
        try client.connect(to: port)
        listener = nil
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while case let length = read(tracePipe, &chunk, chunk.count), length > 0 { text += chunk[..<length] }
        // The pipe tells of the whole machine: only the rows of this port count.
        let rows = String(decoding: text, as: UTF8.self).split(separator: "\n")
            .filter { $0.contains(" sport=\(port) ") }
        #expect(rows.count == 2)
        #expect(rows.first?.hasSuffix("newstate=TCP_LISTEN") == true)
        #expect(rows.last?.hasSuffix("oldstate=TCP_LISTEN newstate=TCP_CLOSE") == true)
    }
}
