import Glibc
import ProcFS
import Testing

@testable import PortWatcher
@testable import TestSupport

/// A folder that looks like /proc. Its own network namespace is 7, its own pid namespace 1, its own user namespace 2.
final class FakeProc {
    let files: TemporaryTree
    var procfs: ProcFileSystem { ProcFileSystem(root: files.root) }

    init() throws {
        files = try TemporaryTree()
        try files.link("self/ns/net", to: "net:[7]")
        try files.link("self/ns/pid", to: "pid:[1]")
        try files.link("self/ns/user", to: "user:[2]")
        try files.write("0::/system.slice/samd.service\n", to: "self/cgroup")
        try setRows("")
    }

    func setRows(_ rows: String) throws { try files.write(Sample.header + rows, to: "self/net/tcp") }

    func addProcess(
        _ pid: Int32, holding inode: UInt64, parent: Int32 = 1, session: Int32 = 6, name: String = "node",
        command: [String] = ["node", "server.js"], uid: UInt32 = 1000
    ) throws {
        let rest = (7...21).map(String.init).joined(separator: " ")
        try files.write("\(pid) (\(name)) S \(parent) 5 \(session) \(rest) 100 0\n", to: "\(pid)/stat")
        try files.write("\(name)\n", to: "\(pid)/comm")
        try files.write("Name:\t\(name)\nUid:\t\(uid)\t\(uid)\t\(uid)\t\(uid)\n", to: "\(pid)/status")
        try files.write(command.map { "\($0)\0" }.joined(), to: "\(pid)/cmdline")
        try files.link("\(pid)/fd/3", to: "socket:[\(inode)]")
    }

    func addProcess(_ pid: Int32, holding inode: UInt64, namespace: UInt64, rows: String) throws {
        try addProcess(pid, holding: inode)
        try setNetwork(of: pid, namespace: namespace, rows: rows)
    }

    func setNetwork(of pid: Int32, namespace: UInt64, rows: String) throws {
        try files.link("\(pid)/ns/net", to: "net:[\(namespace)]")
        try files.write(Sample.header + rows, to: "\(pid)/net/tcp")
    }

    func removeNetwork(of pid: Int32) throws {
        for path in ["ns/net", "net/tcp"] { try #require(unlink("\(files.root)/\(pid)/\(path)") == 0) }
    }

    /// Puts a process into a pid namespace and a user namespace; without the latter into the daemon's.
    func contain(_ pid: Int32, pidNamespace: UInt64 = 11, user: UInt64 = 2, cgroup: String = "/") throws {
        try files.link("\(pid)/ns/pid", to: "pid:[\(pidNamespace)]")
        try files.link("\(pid)/ns/user", to: "user:[\(user)]")
        try files.write("0::\(cgroup)\n", to: "\(pid)/cgroup")
    }

    func endProcess(_ pid: Int32) throws {
        for file in ["stat", "comm", "status", "cmdline", "fd/3"] {
            try #require(unlink("\(files.root)/\(pid)/\(file)") == 0)
        }
        try #require(rmdir("\(files.root)/\(pid)/fd") == 0)
        rmdir("\(files.root)/\(pid)")
    }
}
