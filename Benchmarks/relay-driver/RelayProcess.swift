import Glibc
import NamespaceRelay
import Supervision

/// Nothing but relays, so that what is counted in the process is theirs.
struct RelayProcess {
    let folder: String
    let entrance: String
    let port: UInt16

    func run() async {
        let relays = NamespaceRelays(monitor: ServiceMonitor(name: "relays"), folder: folder) { _ in true }
        var status = stat()
        guard stat(entrance, &status) == 0 else { fail("there is no \(entrance)") }
        let target = RelayTarget(
            name: "bench", namespace: UInt64(status.st_ino), entrance: entrance, address: "127.0.0.1",
            port: port)
        switch relays.set([target])["bench"] {
        case .success(let path): say(path)
        case .failure(let error): fail("\(error)")
        case nil: fail("no answer about the relay")
        }
        while readLine() != nil {
            let statistics = relays.statistics()["bench"] ?? RelayStatistics()
            say(
                """
                {"descriptors": \(count("/proc/self/fd")), "threads": \(count("/proc/self/task")), \
                "open": \(statistics.openConnections), "connections": \(statistics.connections), \
                "refused": \(statistics.refused), "bytes_in": \(statistics.bytesIn), \
                "bytes_out": \(statistics.bytesOut)}
                """)
        }
        _ = relays.set([])
    }

    private func count(_ folder: String) -> Int {
        guard let stream = opendir(folder) else { return -1 }
        defer { closedir(stream) }
        var count = 0
        while readdir(stream) != nil { count += 1 }
        return count - 3  // `.`, `..`, and in fd the stream itself; the same in each count.
    }
}
