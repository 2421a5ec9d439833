/// A network namespace that a mount holds, as `ip netns add` and container runtimes make it.
package struct MountedNamespace: Hashable, Sendable {
    /// The inode of the namespace.
    package var inode: UInt64
    /// Where it is mounted.
    package var path: String

    /// Creates an entry from its parts.
    package init(inode: UInt64, path: String) {
        self.inode = inode
        self.path = path
    }
}

/// Reads the text of `mountinfo` (proc_pid_mountinfo(5)): pure.
package enum MountInfoParser {
    /// Entries that are kept; whoever makes more needs root.
    package static let namespaceLimit = 1024
    /// Bytes of a mount point, PATH_MAX.
    private static let pathLimitBytes = 4096

    /// The network namespaces that are mounted, in the table's order, each inode's first mount only. Lines of another
    /// kind or shape are passed over.
    package static func networkNamespaces(_ text: Span<UInt8>) -> [MountedNamespace] {
        var found: [MountedNamespace] = []
        var inodes: Set<UInt64> = []
        forEachLine(of: text) { line in
            if let namespace = namespace(text, line), inodes.insert(namespace.inode).inserted {
                found.append(namespace)
            }
            return found.count < namespaceLimit
        }
        return found
    }

    /// `<id> <parent> <major:minor> net:[<inode>] <mount point> <options> [optional fields] - nsfs …`
    private static func namespace(_ text: Span<UInt8>, _ line: Range<Int>) -> MountedNamespace? {
        var fields = Fields(in: line)
        guard fields.skip(3, text), let root = fields.next(text), text.starts(root, with: "net:["),
            text[root.upperBound - 1] == UInt8(ascii: "]"), root.count > 6,
            let inode = text.decimal(root.lowerBound + 5..<root.upperBound - 1),
            let mountPoint = fields.next(text), fields.skip(1, text)
        else { return nil }
        while let field = fields.next(text) {
            guard text.holds(field, "-") else { continue }
            guard let kind = fields.next(text), text.holds(kind, "nsfs"),
                let path = unescaped(text, mountPoint)
            else { return nil }
            return MountedNamespace(inode: inode, path: path)
        }
        return nil
    }

    /// The kernel writes blank, tab, newline and backslash as a backslash and three octal digits. `nil` if it is no
    /// absolute path of UTF-8, which could not be opened again by its text.
    private static func unescaped(_ text: Span<UInt8>, _ range: Range<Int>) -> String? {
        var bytes: [UInt8] = []
        var index = range.lowerBound
        while index < range.upperBound {
            if text[index] == UInt8(ascii: "\\"), index + 3 < range.upperBound,
                let byte = octal(text, index + 1)
            {
                bytes.append(byte)
                index += 4
            } else {
                bytes.append(text[index])
                index += 1
            }
        }
        guard bytes.first == UInt8(ascii: "/"), bytes.count < pathLimitBytes, !bytes.contains(0) else {
            return nil
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func octal(_ text: Span<UInt8>, _ start: Int) -> UInt8? {
        var value = 0
        for index in start..<start + 3 {
            guard text[index] >= UInt8(ascii: "0"), text[index] <= UInt8(ascii: "7") else { return nil }
            value = value << 3 | Int(text[index] - UInt8(ascii: "0"))
        }
        return UInt8(exactly: value)
    }
}
