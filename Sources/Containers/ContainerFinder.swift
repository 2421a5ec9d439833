import FoundationEssentials
package import ProcFS

/// Finds out which container a process belongs to.
///
/// Cgroup paths and command lines are claims. A container's creator, whom policy goes by, comes from the kernel alone; a
/// monitor's command line counts only if the monitor is root's or the creator's.
package struct ContainerFinder {
    /// Ancestors that are looked at.
    static let ancestorLimit = 64
    /// Bytes of docker's file about a container that are read.
    static let dockerFileLimitBytes = 1 << 20
    /// Containers that are remembered; more are looked up each time.
    static let cacheLimit = 16_384

    private struct Key: Hashable {
        var pid: Int32
        var startTime: UInt64
    }

    private let procfs: ProcFileSystem
    private let dockerRoot: String
    private var own: (process: UInt64, controlGroups: [String])?
    private var cache: [Key: Container?] = [:]

    package init(procfs: ProcFileSystem, dockerRoot: String) {
        self.procfs = procfs
        self.dockerRoot = dockerRoot
    }

    /// The container of a process; `nil` for one that shares the daemon's pid namespace, or may not be looked at.
    package mutating func container(of pid: Int32, startTime: UInt64) -> Container? {
        let key = Key(pid: pid, startTime: startTime)
        if let known = cache[key] { return known }
        guard let own = ownPlace(), let namespace = try? procfs.namespace(.process, of: pid) else {
            return nil
        }
        let found = namespace == own.process ? nil : attribute(pid, namespace: namespace, own: own)
        if cache.count >= Self.cacheLimit { cache.removeAll() }
        cache[key] = .some(found)
        return found
    }

    /// Forgets the processes for which `isNeeded` is false.
    package mutating func forget(unless isNeeded: (Int32) -> Bool) {
        cache = cache.filter { isNeeded($0.key.pid) }
    }

    private mutating func ownPlace() -> (process: UInt64, controlGroups: [String])? {
        if let own { return own }
        guard let namespace = try? procfs.namespace(.process, of: .own) else { return nil }
        own = (namespace, (try? procfs.ownControlGroups()) ?? [])
        return own
    }

    private func attribute(
        _ pid: Int32, namespace: UInt64, own: (process: UInt64, controlGroups: [String])
    ) -> Container {
        let creator = procfs.userNamespaceCreator(of: pid) ?? Container.unknownCreator
        let monitor = monitorClaim(of: pid, creator: creator, own: own.process)
        let paths = (try? procfs.controlGroups(of: pid)) ?? []
        let controlGroup = paths.enumerated().lazy.compactMap { index, path in
            ContainerEvidence.claim(
                cgroup: path, own: index < own.controlGroups.count ? own.controlGroups[index] : nil)
        }.first
        var claim = monitor ?? controlGroup ?? ContainerEvidence.Claim(runtime: .unknown)
        if let controlGroup, claim.id.isEmpty || controlGroup.id == claim.id {
            claim.runtime = controlGroup.runtime
            claim.id = controlGroup.id
            claim.name = claim.name ?? controlGroup.name
        }
        return container(claim, creator: creator, fallbackName: "ns\(namespace)")
    }

    /// Puts together what is known; docker's own name is looked up for containers that root made.
    package func container(_ claim: ContainerEvidence.Claim, creator: UInt32, fallbackName: String)
        -> Container
    {
        var name = claim.name
        if name == nil, claim.runtime == .docker, creator == 0 { name = dockerName(of: claim.id) }
        if name == nil, !claim.id.isEmpty { name = String(claim.id.prefix(12)) }
        return Container(
            runtime: claim.runtime, id: claim.id, name: name ?? ContainerEvidence.bounded(fallbackName),
            creatorUID: creator)
    }

    /// Walks up from a process to the monitor of its container. Processes of other pid namespaces are inside of it and may
    /// call themselves anything.
    private func monitorClaim(of pid: Int32, creator: UInt32, own: UInt64) -> ContainerEvidence.Claim? {
        var current = pid
        for _ in 0..<Self.ancestorLimit {
            guard let parent = (try? procfs.processStat(of: current))?.parent, parent > 1 else { return nil }
            current = parent
            guard (try? procfs.namespace(.process, of: parent)) == own,
                let executable = try? procfs.executableName(of: parent),
                isBelieved(parent, by: creator),
                let command = try? procfs.commandLine(of: parent)
            else { continue }
            if let claim = ContainerEvidence.claim(monitor: executable, command: command) { return claim }
        }
        return nil
    }

    private func isBelieved(_ pid: Int32, by creator: UInt32) -> Bool {
        guard let users = try? procfs.users(of: pid) else { return false }
        return [users.real, users.effective].allSatisfy {
            $0 == 0 || $0 == creator && creator != Container.unknownCreator
        }
    }

    private struct DockerFile: Decodable {
        var name: String
        enum CodingKeys: String, CodingKey { case name = "Name" }
    }

    /// The name that docker gave a container, without its leading slash.
    private func dockerName(of id: String) -> String? {
        guard ContainerEvidence.isIdentifier(id),
            let bytes = try? procfs.file(
                "\(dockerRoot)/containers/\(id)/config.v2.json", limitBytes: Self.dockerFileLimitBytes),
            let file = try? JSONDecoder().decode(DockerFile.self, from: Data(bytes))
        else { return nil }
        let name = file.name.hasPrefix("/") ? file.name.dropFirst() : file.name[...]
        return name.isEmpty ? nil : ContainerEvidence.bounded(name)
    }
}
