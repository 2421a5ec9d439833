import Glibc

/// A folder that goes when its owner goes.
final class TemporaryFolder: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/samd-test-XXXXXX".utf8CString)
        path = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
    }

    deinit {
        _ = nftw(path, { path, _, _, _ in path.map { remove($0) } ?? 0 }, 16, Int32(FTW_DEPTH | FTW_PHYS))
    }
}
