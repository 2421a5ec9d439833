// Depending on what is loaded first, `struct stat` is of this module in the compiler's eyes.
import CDispatch
import Glibc
import Testing

@testable import SamdCore
@testable import TestSupport

@Suite struct StateFileTests {
    private let folder: TemporaryTree
    private var path: String { "\(folder.root)/state.json" }

    init() throws { folder = try TemporaryTree() }

    private func value(_ loaded: StateFile<[String]>.Loaded) -> [String]? {
        if case .value(let value) = loaded { value } else { nil }
    }

    @Test func `what was saved is loaded, readable by its owner alone`() throws {
        let file = StateFile<[String]>(path: path, version: 1)
        #expect(value(try file.load()) == nil)
        try file.save(["a", "b"])
        #expect(value(try file.load()) == ["a", "b"])
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    }

    @Test func `state of another boot counts as none`() throws {
        try StateFile<[String]>(path: path, version: 1, bootID: "first").save(["a"])
        #expect(value(try StateFile<[String]>(path: path, version: 1, bootID: "first").load()) == ["a"])
        #expect(value(try StateFile<[String]>(path: path, version: 1, bootID: "second").load()) == nil)
    }

    @Test(arguments: [
        "", "{", "[]", "{\"version\":1}", "{\"version\":2,\"value\":[\"a\"]}", "{\"version\":1,\"value\":3}",
    ])
    func `unusable content is moved aside and told, and nothing is lost`(content: String) throws {
        try BoundedFile.replace(path, with: Array(content.utf8), mode: 0o600)
        let file = StateFile<[String]>(path: path, version: 1)
        guard case .discarded(let reason, let movedTo) = try file.load() else {
            Issue.record("\(content) was taken")
            return
        }
        #expect(!reason.isEmpty)
        #expect(try BoundedFile.read(movedTo, limit: 100) == Array(content.utf8))
        #expect(value(try file.load()) == nil)
        try file.save(["new"])
        #expect(value(try file.load()) == ["new"])
    }

    @Test func `a save that fails leaves the old content`() throws {
        let file = StateFile<[String]>(path: path, version: 1)
        try file.save(["old"])
        // The temporary file's name is taken by a folder, so that it cannot be created.
        mkdir("\(path).tmp.\(getpid())", 0o700)
        #expect(throws: FileError.self) { try file.save(["new"]) }
        #expect(value(try file.load()) == ["old"])
    }

    @Test func `a file larger than the bound is refused`() throws {
        try BoundedFile.replace(path, with: [UInt8](repeating: 0x20, count: 101), mode: 0o600)
        #expect(throws: FileError.self) { try BoundedFile.read(path, limit: 100) }
        #expect(try BoundedFile.read(path, limit: 101).count == 101)
    }

    @Test func `a second daemon is refused while the first holds the lock, and told which one`() throws {
        let lock = try InstanceLock(path: path)
        #expect(throws: InstanceLockError.held(path: path, pid: getpid())) { try InstanceLock(path: path) }
        withExtendedLifetime(lock) {}
    }

    @Test func `the lock is free when its holder is gone`() throws {
        do { _ = try InstanceLock(path: path) }
        _ = try InstanceLock(path: path)
    }

    @Test func `a lock in a folder that does not exist says what to do`() {
        do {
            _ = try InstanceLock(path: "\(folder.root)/none/lock")
            Issue.record("the lock was taken")
        } catch {
            #expect(error.description.contains("run samd as root, or set daemon.runtime_dir"))
        }
    }
}
