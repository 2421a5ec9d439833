/// Readers of small texts of `/proc`: pure.
package enum ProcText {
    /// Paths that are kept of one `cgroup` file: cgroup v1 has about a dozen trees.
    static let controlGroupLimit = 32

    /// The process's path in each cgroup tree, as `cgroup` lists them (cgroups(7)): `<number>:<controllers>:<path>`. The
    /// unified tree's, `0::<path>`, comes first.
    package static func controlGroups(_ text: Span<UInt8>) -> [String] {
        var paths: [String] = []
        forEachLine(of: text) { line in
            var colons = 0
            var start = line.lowerBound
            while start < line.upperBound, colons < 2 {
                if text[start] == UInt8(ascii: ":") { colons += 1 }
                start += 1
            }
            guard colons == 2 else { return true }
            let path = String(decoding: text.array(start..<line.upperBound), as: UTF8.self)
            paths.insert(path, at: text.starts(line, with: "0::") ? 0 : paths.count)
            return paths.count < controlGroupLimit
        }
        return paths
    }

    /// The real and effective user in the text of `status`; `nil` if it names none.
    package static func users(_ text: Span<UInt8>) -> (real: UInt32, effective: UInt32)? {
        var users: (real: UInt32, effective: UInt32)?
        forEachLine(of: text) { line in
            guard text.starts(line, with: "Uid:") else { return true }
            var fields = Fields(in: line.lowerBound + 4..<line.upperBound)
            if let real = fields.next(text).flatMap({ text.decimal($0) }).flatMap({ UInt32(exactly: $0) }),
                let effective = fields.next(text).flatMap({ text.decimal($0) }).flatMap({
                    UInt32(exactly: $0)
                })
            {
                users = (real, effective)
            }
            return false
        }
        return users
    }

    /// How many TCP sockets are in use, of the text of `net/sockstat` or `net/sockstat6`; `nil` if it does not say.
    package static func socketsInUse(_ text: Span<UInt8>, in table: TCPTable) -> UInt64? {
        var count: UInt64?
        forEachLine(of: text) { line in
            guard text.starts(line, with: table == .ipv4 ? "TCP: inuse " : "TCP6: inuse ") else {
                return true
            }
            var fields = Fields(in: line)
            if fields.skip(2, text), let number = fields.next(text) { count = text.decimal(number) }
            return false
        }
        return count
    }
}
