internal import CLinux
internal import Glibc

/// Opens network namespaces. The descriptor keeps the namespace, and its inode, from going away.
enum NamespaceFile {
    /// The namespace that `entrance` leads to; checked to be the network namespace with that inode.
    static func open(_ entrance: String, inode: UInt64) throws(RelayError) -> Descriptor {
        let file = try open(entrance)
        var status = stat()
        guard fstat(file.number, &status) == 0, UInt64(status.st_ino) == inode else {
            throw RelayError("enter", entrance, .otherNamespace)
        }
        return file
    }

    /// The namespace that the calling thread is in.
    static func own() throws(RelayError) -> Descriptor { try open("/proc/thread-self/ns/net") }

    private static func open(_ path: String) throws(RelayError) -> Descriptor {
        guard !path.utf8.contains(0) else {
            throw RelayError("enter", "a namespace", .invalid("NUL in its path"))
        }
        // Not blocking: whatever lies there may be a FIFO.
        let number = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard number >= 0 else {
            let error = errno
            if error == ENOENT || error == ESRCH { throw RelayError("enter", path, .vanished) }
            throw RelayError("enter", path, errno: error)
        }
        let file = Descriptor(number)
        guard samd_is_network_namespace(number) else { throw RelayError("enter", path, .otherNamespace) }
        return file
    }
}
