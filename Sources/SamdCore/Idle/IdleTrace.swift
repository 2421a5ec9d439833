import Dispatch
import Glibc
package import IdleDetector
import Synchronization

/// The flight recorder: the newest evidence on disk in the form of a recording, so that a wrong verdict can be replayed later.
///
/// Bounds: two files of `fileLimit` each; `pendingLimit` lines wait to be written, what comes on top is dropped and counted, as
/// is what the disk does not take; `followerLimit` follow it, each may lag `followerBuffer` lines and misses the oldest then.
package final class IdleTrace: Sendable {
    package static let fileLimit = 2 << 20
    static let pendingLimit = 64
    static let followerLimit = 4
    static let followerBuffer = 64

    private struct State {
        var pending = 0
        var written: UInt64 = 0
        var dropped: UInt64 = 0
        var followers: [Int: AsyncStream<News>.Continuation] = [:]
        var nextFollower = 0
        var isClosed = false
    }

    private let path: String
    private let limit: Int
    private let state = Mutex(State())
    /// Touched on the queue alone.
    private let file = Mutex<(descriptor: Int32, size: Int)?>(nil)
    private let queue = DispatchQueue(label: "samd.idle-trace")

    /// Writes to `path`, and moves it to `path.1` when it would grow beyond `limit` bytes.
    package init(path: String, limit: Int = IdleTrace.fileLimit) {
        self.path = path
        self.limit = limit
    }

    /// Lines that did not get to the disk.
    package var dropped: UInt64 { state.withLock { $0.dropped } }

    /// Writes evidence soon. The header begins a new file, and a new recording when `isFirst`.
    package func append(_ snapshot: ActivitySnapshot, header: IdleRecording.Header, isFirst: Bool) {
        let isTaken = state.withLock { state in
            guard state.pending < Self.pendingLimit, !state.isClosed else {
                state.dropped += 1
                return false
            }
            state.pending += 1
            return true
        }
        guard isTaken else { return }
        queue.async { [self] in
            let line = IdleRecording.line(snapshot)
            let isWritten = write(line, header: header, isFirst: isFirst)
            let followers = state.withLock { state in
                state.pending -= 1
                if isWritten { state.written += 1 } else { state.dropped += 1 }
                return Array(state.followers.values)
            }
            let bytes = isFirst ? IdleRecording.line(header) + line : line
            for follower in followers { follower.yield(News(at: snapshot.at, bytes: bytes)) }
        }
    }

    /// One line, and a header before it where it begins anew.
    package struct News: Sendable {
        var at: Moment
        var bytes: [UInt8]
    }

    /// Everything that is on disk, and what comes after it.
    package struct Following: Sendable {
        /// The files as they were, oldest first.
        let past: [PastFile]
        /// Nil when only the past was asked for.
        let news: AsyncStream<News>?
    }

    /// Opens what is on disk, and begins to follow at exactly its end; nil when too many follow.
    package func follow(news: Bool) async -> Following? {
        await withCheckedContinuation { continuation in
            queue.async { [self] in
                guard news else { return continuation.resume(returning: Following(past: past(), news: nil)) }
                let stream = newFollower()
                continuation.resume(returning: stream.map { Following(past: past(), news: $0) })
            }
        }
    }

    /// Waits until everything is written, and ends the followers.
    package func close() {
        queue.sync {
            if let file = file.withLock({ $0 }) { Glibc.close(file.descriptor) }
            file.withLock { $0 = nil }
        }
        let followers = state.withLock { state in
            state.isClosed = true
            return Array(state.followers.values)
        }
        for follower in followers { follower.finish() }
    }

    private func newFollower() -> AsyncStream<News>? {
        let (stream, continuation) = AsyncStream.makeStream(
            of: News.self, bufferingPolicy: .bufferingNewest(Self.followerBuffer))
        let key: Int? = state.withLock { state in
            guard state.followers.count < Self.followerLimit, !state.isClosed else { return nil }
            defer { state.nextFollower += 1 }
            state.followers[state.nextFollower] = continuation
            return state.nextFollower
        }
        guard let key else { return nil }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { state in _ = state.followers.removeValue(forKey: key) }
        }
        return stream
    }

    private func past() -> [PastFile] { ["\(path).1", path].compactMap(PastFile.init) }

    // MARK: On the queue

    private func write(_ line: [UInt8], header: IdleRecording.Header, isFirst: Bool) -> Bool {
        if let size = file.withLock({ $0?.size }) ?? open(), size + line.count > limit, size > 0 { rotate() }
        guard let size = file.withLock({ $0?.size }) ?? open() else { return false }
        let bytes = isFirst || size == 0 ? IdleRecording.line(header) + line : line
        return file.withLock { file in
            guard let (descriptor, size) = file else { return false }
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count == bytes.count {
                file = (descriptor, size + count)
                return true
            }
            // A line that is cut off would spoil what comes after it.
            if count > 0, ftruncate(descriptor, size) != 0 {
                Glibc.close(descriptor)
                file = nil
            }
            return false
        }
    }

    /// The size of the file, opened if need be; nil where that fails.
    private func open() -> Int? {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return nil }
        let size = Int(lseek(descriptor, 0, SEEK_END))
        guard size >= 0, fchmod(descriptor, 0o600) == 0 else {
            Glibc.close(descriptor)
            return nil
        }
        file.withLock { $0 = (descriptor, size) }
        return size
    }

    private func rotate() {
        if let file = file.withLock({ $0 }) { Glibc.close(file.descriptor) }
        file.withLock { $0 = nil }
        // Where that fails the disk is in trouble: better a short trace than one that grows.
        if rename(path, "\(path).1") != 0 { truncate(path, 0) }
    }
}

/// A file of the trace, open, up to where it was when it was opened.
final class PastFile: Sendable {
    private let descriptor: Int32
    private let size: Int
    private let offset = Mutex(0)
    private static let chunk = 64 << 10

    init?(_ path: String) {
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        size = max(0, Int(lseek(descriptor, 0, SEEK_END)))
    }

    deinit { close(descriptor) }

    /// The next bytes; nil at the end.
    func next() -> [UInt8]? {
        offset.withLock { offset in
            let wanted = min(Self.chunk, size - offset)
            guard wanted > 0 else { return nil }
            let bytes = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
                count = max(0, pread(descriptor, buffer.baseAddress, wanted, off_t(offset)))
            }
            offset += bytes.count
            return bytes.isEmpty ? nil : bytes
        }
    }
}
