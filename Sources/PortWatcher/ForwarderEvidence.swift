import Containers
import ProcFS

/// What the command line of a process says that listens for a container: pure.
enum ForwarderEvidence {
    /// Which helper it is, and for whom it says it listens.
    enum Claim: Hashable {
        /// docker-proxy: for the container at this address.
        case address(IPAddress)
        /// conmon: for this container.
        case container(ContainerEvidence.Claim)
        /// rootlessport, rootlesskit, slirp4netns, pasta: for whoever lives in a namespace that it, one of its children, or
        /// a process it names, is in or holds open.
        case network(processes: [Int32], runtime: Container.Runtime)
    }

    /// Arguments that are looked at.
    private static let argumentLimit = 64

    /// - Parameter executable: the process's name, at most 15 bytes.
    static func claim(executable: String, command: [String]) -> Claim? {
        if executable == "docker-proxy" {
            guard let text = ContainerEvidence.option(["-container-ip", "--container-ip"], of: command),
                let address = IPAddress(text)
            else { return nil }
            return .address(address)
        }
        if executable == "conmon" {
            return ContainerEvidence.claim(monitor: executable, command: command).map { .container($0) }
        }
        if executable.hasPrefix("rootlessport") { return .network(processes: [], runtime: .podman) }
        if executable.hasPrefix("rootlesskit") { return .network(processes: [], runtime: .docker) }
        if executable == "slirp4netns" || executable == "pasta" || executable.hasPrefix("pasta.") {
            return .network(processes: processes(in: command), runtime: .unknown)
        }
        return nil
    }

    /// The processes that arguments name, as `123` or `/proc/123/ns/net`.
    private static func processes(in command: [String]) -> [Int32] {
        command.dropFirst().prefix(argumentLimit).compactMap { argument in
            let digits =
                argument.hasPrefix("/proc/") ? argument.dropFirst(6).prefix { $0 != "/" } : argument[...]
            return Int32(digits).flatMap { $0 > 1 ? $0 : nil }
        }
    }
}
