internal import CLinux
internal import Glibc

/// Copies bytes from one socket to another, through memory that all connections share.
struct BytePump: ~Copyable {
    enum Outcome { case idle, more, failed }

    /// Read at once, and therefore the most that one direction can leave over.
    static let chunkBytes = 128 << 10
    /// Copied in one go before other connections get their turn.
    private static let turnBytes = 256 << 10
    /// What all directions together may leave over before chunks become small …
    private static let leftoverComfortBytes = 8 << 20
    /// … so small. With 2048 connections of two directions that makes 24 MB at the very most.
    private static let smallChunkBytes = 4 << 10

    private let scratch: UnsafeMutableRawBufferPointer
    /// What all directions together have left over.
    private(set) var leftoverBytes = 0

    /// `nil` without memory. mmap(2), since malloc would keep the pages when they are given back.
    init?() {
        guard
            let memory = mmap(
                nil, Self.chunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            memory != MAP_FAILED
        else { return nil }
        scratch = UnsafeMutableRawBufferPointer(start: memory, count: Self.chunkBytes)
    }

    deinit { munmap(scratch.baseAddress, scratch.count) }

    /// Moves what can be moved now; `.failed` when a side is broken.
    mutating func move(
        from source: inout RelayConnection.Side, to sink: inout RelayConnection.Side,
        _ direction: inout RelayConnection.Direction, count total: inout UInt64
    ) -> Outcome {
        var moved = 0
        while true {
            if direction.leftoverCount > 0 {
                guard sink.canWrite else { return .idle }
                guard sendLeftover(to: &sink, &direction, count: &total) else { return .failed }
                continue
            }
            // Nothing is read that could not be written on: that is the whole of the backpressure.
            guard !direction.isEnded, source.canRead, sink.canWrite else { return .idle }
            guard moved < Self.turnBytes else { return .more }
            let limit = leftoverBytes < Self.leftoverComfortBytes ? Self.chunkBytes : Self.smallChunkBytes
            let received = recv(source.descriptor, scratch.baseAddress, limit, 0)
            if received > 0 {
                moved += received
                guard send(received, to: &sink, &direction, count: &total) else { return .failed }
            } else if received == 0 {
                direction.isEnded = true
            } else if errno == EAGAIN {
                source.canRead = false
            } else if errno != EINTR {
                return .failed
            }
        }
    }

    /// What a connection that ends has left over counts no more.
    mutating func forget(_ direction: inout RelayConnection.Direction) {
        leftoverBytes -= direction.leftoverCount
        direction.leftover = []
        direction.leftoverStart = 0
    }

    private mutating func send(
        _ count: Int, to sink: inout RelayConnection.Side, _ direction: inout RelayConnection.Direction,
        count total: inout UInt64
    ) -> Bool {
        var sent = 0
        while sent < count {
            let result = Glibc.send(
                sink.descriptor, scratch.baseAddress.map { $0 + sent }, count - sent, Int32(MSG_NOSIGNAL))
            if result >= 0 {
                sent += result
                total &+= UInt64(result)
            } else if errno == EAGAIN {
                sink.canWrite = false
                direction.leftover = Array(scratch[sent..<count])
                direction.leftoverStart = 0
                leftoverBytes += count - sent
                return true
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }

    private mutating func sendLeftover(
        to sink: inout RelayConnection.Side, _ direction: inout RelayConnection.Direction,
        count total: inout UInt64
    ) -> Bool {
        let start = direction.leftoverStart
        let result = direction.leftover.withUnsafeBytes { bytes in
            Glibc.send(
                sink.descriptor, bytes.baseAddress.map { $0 + start }, bytes.count - start,
                Int32(MSG_NOSIGNAL))
        }
        if result >= 0 {
            direction.leftoverStart += result
            leftoverBytes -= result
            total &+= UInt64(result)
            if direction.leftoverCount == 0 {
                direction.leftover = []
                direction.leftoverStart = 0
            }
        } else if errno == EAGAIN {
            sink.canWrite = false
        } else if errno != EINTR {
            return false
        }
        return true
    }
}
