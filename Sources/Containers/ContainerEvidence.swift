/// What cgroup paths and command lines say about containers: pure. The texts are whatever their makers wrote; who may be
/// believed is decided by `ContainerFinder`.
package enum ContainerEvidence {
    /// What a text says about the container of a process.
    package struct Claim: Hashable {
        package var runtime: Container.Runtime
        package var id: String
        package var name: String?

        package init(runtime: Container.Runtime, id: String = "", name: String? = nil) {
            self.runtime = runtime
            self.id = id
            self.name = name
        }
    }

    /// The outermost container that a cgroup path leads through: those within it are made by whoever runs in it.
    ///
    /// - Parameter own: the daemon's path in the same tree. What it shares with it is where the daemon itself runs.
    package static func claim(cgroup path: String, own: String?) -> Claim? {
        let parts = path.split(separator: "/", maxSplits: 64)
        let ownParts = own?.split(separator: "/", maxSplits: 64) ?? []
        var index = zip(parts, ownParts).prefix { $0 == $1 }.count
        while index < parts.count {
            if let claim = claim(part: parts[index], next: index + 1 < parts.count ? parts[index + 1] : nil) {
                return claim
            }
            index += 1
        }
        return nil
    }

    private static func claim(part: Substring, next: Substring?) -> Claim? {
        let scopes: [(String, Container.Runtime)] = [
            ("docker-", .docker), ("libpod-", .podman), ("cri-containerd-", .containerd),
            ("nerdctl-", .containerd),
        ]
        for (prefix, runtime) in scopes where part.hasPrefix(prefix) {
            let id = inner(part, prefix, ".scope") ?? part.dropFirst(prefix.count)
            if isIdentifier(id) { return Claim(runtime: runtime, id: String(id)) }
        }
        // With the driver `cgroupfs`, and in cgroup v1.
        if let next, isIdentifier(next) {
            if part == "docker" { return Claim(runtime: .docker, id: String(next)) }
            if part == "libpod_parent" { return Claim(runtime: .podman, id: String(next)) }
        }
        if let name = inner(part, "machine-", ".scope") ?? inner(part, "systemd-nspawn@", ".service") {
            return Claim(runtime: .nspawn, name: bounded(unescaped(name)))
        }
        if part.hasPrefix("lxc.payload."), case let name = part.dropFirst(12), !name.isEmpty {
            return Claim(runtime: .lxc, name: bounded(name))
        }
        if part == "lxc", let next { return Claim(runtime: .lxc, name: bounded(next)) }
        return nil
    }

    /// What the command line of a container's monitor says.
    ///
    /// - Parameter executable: the process's name, at most 15 bytes.
    package static func claim(monitor executable: String, command: [String]) -> Claim? {
        switch executable {
        case "conmon":
            guard let id = option(["-c", "--cid"], of: command) else { return nil }
            return Claim(
                runtime: .podman, id: bounded(id),
                name: option(["-n", "--name"], of: command).map { bounded($0) })
        case "containerd-shim":
            // The kernel cuts containerd-shim-runc-v2 to 15 bytes.
            guard let id = option(["-id"], of: command) else { return nil }
            let isDocker = option(["-namespace"], of: command) == "moby"
            return Claim(runtime: isDocker ? .docker : .containerd, id: bounded(id))
        case "systemd-nspawn":
            return Claim(
                runtime: .nspawn, name: option(["-M", "--machine"], of: command).map { bounded($0) })
        case "lxc-start":
            return Claim(runtime: .lxc, name: option(["-n", "--name"], of: command).map { bounded($0) })
        default: return nil
        }
    }

    /// The value of an option, given as the next argument or behind `=`; empty ones are none.
    package static func option(_ names: [String], of command: [String]) -> String? {
        for (index, argument) in command.enumerated() {
            for name in names {
                if argument == name, index + 1 < command.count, !command[index + 1].isEmpty {
                    return command[index + 1]
                }
                if argument.hasPrefix("\(name)="), argument.utf8.count > name.utf8.count + 1 {
                    return String(argument.dropFirst(name.count + 1))
                }
            }
        }
        return nil
    }

    /// Whether the text is an id as runtimes make them: 64 lower-case hexadecimal digits.
    package static func isIdentifier(_ text: some StringProtocol) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy {
                ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
                    || ($0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f"))
            }
    }

    /// The beginning of a text, at most `Container.textLimitBytes`, without cutting a character.
    package static func bounded(_ text: some StringProtocol) -> String {
        var bytes = 0
        var scalars = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            bytes += UTF8.width(scalar)
            guard bytes <= Container.textLimitBytes else { break }
            scalars.append(scalar)
        }
        return String(scalars)
    }

    private static func inner(_ part: Substring, _ prefix: String, _ suffix: String) -> Substring? {
        guard part.hasPrefix(prefix), part.hasSuffix(suffix),
            part.utf8.count > prefix.utf8.count + suffix.utf8.count
        else { return nil }
        return part.dropFirst(prefix.count).dropLast(suffix.count)
    }

    /// systemd writes `\x2d` and its like in unit names (systemd.unit(5)).
    private static func unescaped(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.first {
            if rest.starts(with: #"\x"#.utf8), rest.count >= 4,
                let value = UInt8(String(decoding: rest.dropFirst(2).prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(4)
            } else {
                bytes.append(byte)
                rest = rest.dropFirst()
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
