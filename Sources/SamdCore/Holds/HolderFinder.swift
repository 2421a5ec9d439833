import Containers
package import ProcFS

/// Tells who a peer of the local API is.
package struct HolderFinder: Sendable {
    /// Ancestors that are looked at for an agent.
    private static let ancestorLimit = 64
    /// Names of processes; longer ones are cut by the kernel already.
    private static let commandLimitBytes = 64
    /// Coding agents, by the name of their process.
    private static let agents: Set<String> = ["claude"]

    private let procfs: ProcFileSystem
    private let users: any UserDatabase
    private let dockerRoot: String

    package init(procfs: ProcFileSystem, users: any UserDatabase, dockerRoot: String = "/var/lib/docker") {
        self.procfs = procfs
        self.users = users
        self.dockerRoot = dockerRoot
    }

    /// Describes a peer as far as the kernel tells; what cannot be read is left out.
    package func holder(of peer: Peer) -> Holder {
        var holder = Holder(uid: peer.uid, user: users.name(of: peer.uid), pid: peer.pid)
        if !peer.isOnHost { holder.container = Holder.unknownContainer }
        guard peer.pid > 0, let startTime = peer.startTime else { return holder }
        holder.command = (try? procfs.executableName(of: peer.pid)).flatMap { $0 }.map {
            PlainText.cleaned($0, limitBytes: Self.commandLimitBytes)
        }
        if !peer.isOnHost {
            var finder = ContainerFinder(procfs: procfs, dockerRoot: dockerRoot)
            holder.container =
                finder.container(of: peer.pid, startTime: startTime).map {
                    PlainText.cleaned($0.name, limitBytes: Container.textLimitBytes)
                } ?? Holder.unknownContainer
        }
        holder.isAgent = hasAgent(above: peer.pid) ? true : nil
        return holder
    }

    /// Whether a process still runs, and is no zombie; true where that cannot be told.
    package func isRunning(_ process: BoundProcess) -> Bool {
        do {
            guard let stat = try procfs.processStat(of: process.pid) else { return false }
            return stat.startTime == process.startTime && !stat.isZombie
        } catch {
            return true
        }
    }

    private func hasAgent(above pid: Int32) -> Bool {
        var current = pid
        for _ in 0..<Self.ancestorLimit {
            guard let stat = (try? procfs.processStat(of: current)).flatMap({ $0 }), stat.parent > 1 else {
                return false
            }
            current = stat.parent
            if let name = (try? procfs.executableName(of: current)).flatMap({ $0 }),
                Self.agents.contains(name)
            {
                return true
            }
        }
        return false
    }
}
