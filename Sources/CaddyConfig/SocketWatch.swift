internal import Dispatch
internal import Glibc

/// Tells when a unix socket's file appears or goes, so that a restarted Caddy need not wait for the next look.
///
/// Watches the socket's directory, and that one's parent, because systemd removes and remakes a service's runtime
/// directory. Without inotify, or without the parent, nothing is told and the reconciler's polling has to do.
final class SocketWatch {
    private let source: any DispatchSourceRead

    private static let directoryEvents = UInt32(
        IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR)
    private static let parentEvents = UInt32(IN_CREATE | IN_MOVED_TO | IN_ONLYDIR)

    /// Begins to watch; `onChange` is called on a queue of its own. Nil for a TCP endpoint and without inotify.
    init?(endpoint: CaddyAdminEndpoint, onChange: @escaping @Sendable () -> Void) {
        guard case .unix(let path) = endpoint, let place = Place(path) else { return nil }
        let descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
        guard descriptor >= 0 else { return nil }
        _ = inotify_add_watch(descriptor, place.directory, Self.directoryEvents)
        let parentWatch = inotify_add_watch(descriptor, place.parent, Self.parentEvents)
        let queue = DispatchQueue(label: "samd.caddy-socket")
        source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
        source.setEventHandler {
            var isNews = false
            Self.readEvents(descriptor) { watch, name in
                if watch == parentWatch, name == place.directoryName {
                    // A new directory; the socket may be in it already.
                    _ = inotify_add_watch(descriptor, place.directory, Self.directoryEvents)
                    isNews = true
                } else if watch != parentWatch, name == place.socketName {
                    isNews = true
                }
            }
            if isNews { onChange() }
        }
        source.setCancelHandler { close(descriptor) }
        source.activate()
    }

    /// Ends the watch.
    func stop() {
        source.cancel()
    }

    /// The socket's path in pieces.
    private struct Place: Sendable {
        let parent: String
        let directory: String
        let directoryName: String
        let socketName: String

        init?(_ path: String) {
            let parts = path.split(separator: "/").map(String.init)
            guard path.hasPrefix("/"), parts.count >= 2 else { return nil }
            parent = "/" + parts.dropLast(2).joined(separator: "/")
            directory = "/" + parts.dropLast().joined(separator: "/")
            directoryName = parts[parts.count - 2]
            socketName = parts[parts.count - 1]
        }
    }

    /// Reads all events there are (inotify(7): a header of 16 bytes, then the name, padded with NUL).
    private static func readEvents(_ descriptor: Int32, _ handle: (_ watch: Int32, _ name: String) -> Void) {
        let headerBytes = MemoryLayout<inotify_event>.size
        withUnsafeTemporaryAllocation(byteCount: 16 << 10, alignment: 8) { buffer in
            while true {
                let count = read(descriptor, buffer.baseAddress, buffer.count)
                if count <= 0 { return }
                var offset = 0
                while offset + headerBytes <= count {
                    let event = buffer.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
                    let nameStart = offset + headerBytes
                    let name = buffer[nameStart..<(nameStart + Int(event.len))].prefix { $0 != 0 }
                    handle(event.wd, String(decoding: name, as: UTF8.self))
                    offset = nameStart + Int(event.len)
                }
            }
        }
    }
}
