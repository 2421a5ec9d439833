import Containers
import PortWatcher

/// Names by which people and URLs call a published port: its number, or number and container.
enum PortName {
    /// A container's name as a host label may hold it: lower case, everything else a hyphen, none at the ends; never empty.
    static func label(of container: Container) -> String {
        var label = ""
        for byte in container.name.lowercased().utf8 {
            let isPlain =
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            if isPlain {
                label.append(Character(UnicodeScalar(byte)))
            } else if !label.isEmpty, !label.hasSuffix("-") {
                label.append("-")
            }
        }
        while label.hasSuffix("-") { label.removeLast() }
        return label.isEmpty ? "container" : label
    }

    /// `3000-dc1`, cut so that it takes at most `limit` characters.
    static func long(port: UInt16, container label: String, limit: Int) -> String {
        var name = String("\(port)-\(label)".prefix(limit))
        while name.hasSuffix("-") { name.removeLast() }
        return name
    }
}
