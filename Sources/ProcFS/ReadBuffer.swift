import Glibc

/// Bytes of one file, in memory that the next file reuses.
///
/// `/proc` files report a size of 0 and hand out about one page a read(2), so whoever trusts the size or a
/// single read gets the beginning only: `load` reads until the kernel says there is no more.
package struct ReadBuffer: Sendable {
    /// Memory beyond this is given back before the next file, so that one large table does not stay resident.
    package static let retainedBytes = 1 << 20

    private var storage: [UInt8] = []
    /// The number of bytes that the last `load` read.
    package private(set) var count = 0
    /// Whether the last `load` kept only the beginning of its file.
    private(set) var isTruncated = false

    /// Creates an empty buffer that owns no memory yet.
    package init() {}

    /// Lends the bytes of the last `load`.
    package func withBytes<Result, Failure: Error>(
        _ body: (Span<UInt8>) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(storage.span.extracting(0..<count))
    }

    /// Replaces the content by the whole file at `path`; on an error the buffer is empty.
    ///
    /// - Parameters:
    ///   - limitBytes: a longer file is `.tooLarge`, unless `truncating`: then its beginning is kept.
    mutating func load(_ path: String, limitBytes: Int, truncating: Bool = false) throws(ProcFSError) {
        count = 0
        isTruncated = false
        if storage.count > Self.retainedBytes { storage = [] }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ProcFSError("open", path, Errno.current) }
        defer { close(descriptor) }
        var filled = 0
        while true {
            if filled == storage.count, filled <= limitBytes {
                let grown = min(max(2 * storage.count, 4096), limitBytes + 1)
                storage.append(contentsOf: repeatElement(0, count: grown - storage.count))
            }
            let got = storage.withUnsafeMutableBytes { memory in
                read(descriptor, memory.baseAddress.map { $0 + filled }, memory.count - filled)
            }
            if got < 0 {
                let error = Errno.current
                if error.rawValue == EINTR { continue }
                throw ProcFSError("read", path, error)
            }
            filled += got
            if filled > limitBytes {
                guard truncating else {
                    throw ProcFSError("read", path, .tooLarge(limitBytes: limitBytes))
                }
                filled = limitBytes
                isTruncated = true
                break
            }
            if got == 0 { break }
        }
        count = filled
    }
}
