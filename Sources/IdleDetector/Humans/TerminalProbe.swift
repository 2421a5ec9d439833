import Glibc
import ProcFS

/// Sees input on the terminals that are some session's controlling terminal, on the machine and in its containers.
///
/// The kernel moves the access time of a terminal's inode when a program reads input from it, in steps of 8 s and by the wall
/// clock (tty_update_time); output moves the other time. So the time is compared with the one seen before, and with nothing
/// else.
package struct TerminalProbe: ActivityProbe {
    /// Terminals that are looked at; the sessions with the lowest numbers win.
    package static let terminalLimit = 512
    /// Processes of one session that are tried to reach its terminal.
    static let processLimit = 8
    /// Bytes of a signal's subject.
    static let subjectLimitBytes = 200

    package let name = "terminals"
    package let interval: Duration = .seconds(15)

    private let proc: String
    private let userName: @Sendable (UInt32) -> String?
    private let logins: LoginDirectory?
    private var known: [Session: Sight] = [:]
    private var hasLooked = false

    /// A session that has a terminal.
    private struct Session: Hashable {
        var leader: Int32
        var startTime: UInt64
        var device: TerminalDevice
    }

    private struct Sight {
        var since: Moment
        var changedAt: Moment?
        var accessed: Int64?
        /// Where the terminal was reached last.
        var place: (pid: Int32, descriptor: Int32)?
    }

    /// - Parameters:
    ///   - proc: where proc is mounted, without a slash at the end.
    ///   - userName: the name of a user of this machine, asked for every session at every look.
    ///   - logins: tells from where users logged in.
    package init(
        proc: String = "/proc", userName: @escaping @Sendable (UInt32) -> String? = { _ in nil },
        logins: LoginDirectory? = nil
    ) {
        self.proc = proc
        self.userName = userName
        self.logins = logins
    }

    package mutating func look(_ context: LookContext) -> ProbeFindings {
        let members = Self.sessions(of: context.processes)
        let logins = logins?.reading(at: context.now) ?? .init()
        var findings = ProbeFindings()
        var stillKnown: [Session: Sight] = [:]
        var denied: (count: Int, example: String)?
        for leader in members.keys.sorted().prefix(Self.terminalLimit) {
            guard let pids = members[leader], let entry = context.processes.entries[leader],
                let device = TerminalDevice(statField: entry.terminal),
                !TerminalMaker.awaitsLogin(leader: entry.name, uid: entry.uid)
            else { continue }
            let session = Session(leader: leader, startTime: entry.startTime, device: device)
            var sight = known[session] ?? Sight(since: context.now)
            let inode = reach(device, pids: pids, sight: &sight)
            switch inode {
            case .found(let accessed):
                let isNew = hasLooked && known[session] == nil
                if Self.hadInput(accessed: accessed, before: sight.accessed, device: device, isNew: isNew) {
                    sight.changedAt = context.now
                }
                sight.accessed = accessed
            case .other: break
            case .denied(let errno):
                denied = ((denied?.count ?? 0) + 1, denied?.example ?? "\(proc)/\(leader)/fd: \(errno)")
            }
            stillKnown[session] = sight
            findings.signals.append(signal(session, entry, sight, context.processes, logins))
        }
        known = stillKnown
        hasLooked = true
        findings.blindSpot = Self.blindSpot(denied, beyond: members.count - Self.terminalLimit)
        return findings
    }

    /// Whether input arrived since the last look.
    ///
    /// A terminal that is seen for the first time has nothing to compare with, but one that was made since the last look: its
    /// inode is born with nanoseconds in its times, and the kernel's updates have none.
    ///
    /// - Parameter isNew: whether its session began after the last look.
    static func hadInput(accessed: Int64, before: Int64?, device: TerminalDevice, isNew: Bool) -> Bool {
        if let before { return accessed != before }
        return isNew && device.isPseudo && accessed % 1_000_000_000 == 0
    }

    /// The processes of each session that has a terminal, its leader first.
    private static func sessions(of table: ProcessTable) -> [Int32: [Int32]] {
        var members: [Int32: [Int32]] = [:]
        for entry in table.entries.values where entry.terminal != 0 && !entry.isZombie {
            members[entry.session, default: []].append(entry.pid)
        }
        for leader in members.keys {
            members[leader]?.sort { $0 == leader && $1 != leader || $1 != leader && $0 < $1 }
        }
        return members
    }

    private func reach(_ device: TerminalDevice, pids: [Int32], sight: inout Sight) -> TerminalInode {
        if let place = sight.place, pids.contains(place.pid),
            case let inode = TerminalInode.look(
                proc: proc, pid: place.pid, descriptor: place.descriptor, device: device), inode != .other
        {
            return inode
        }
        sight.place = nil
        var refused: TerminalInode?
        for pid in pids.prefix(Self.processLimit) {
            for descriptor in TerminalInode.usualDescriptors {
                let inode = TerminalInode.look(proc: proc, pid: pid, descriptor: descriptor, device: device)
                if case .found = inode {
                    sight.place = (pid, descriptor)
                    return inode
                }
                if case .denied = inode { refused = inode }
            }
        }
        for pid in pids.prefix(Self.processLimit) where refused == nil {
            let (descriptor, inode) = TerminalInode.search(proc: proc, pid: pid, device: device)
            guard inode != .other else { continue }
            sight.place = (pid, descriptor)
            return inode
        }
        return refused ?? .other
    }

    private func signal(
        _ session: Session, _ entry: ProcessEntry, _ sight: Sight, _ table: ProcessTable,
        _ logins: LoginDirectory.Reading
    ) -> Signal {
        let elsewhere = table.entries[entry.parent].flatMap {
            TerminalMaker.reasonNotToCount(maker: $0.name, hasTerminal: $0.terminal != 0)
        }
        let user = userName(entry.uid).map { HostileText.line($0, limitBytes: 64) }
        let owner = user ?? "uid \(entry.uid)"
        let text =
            if let origin = logins.login(of: entry, in: table)?.remoteHost {
                "\(session.device), \(owner) from \(origin)"
            } else {
                "\(session.device) of \(owner)" + (entry.container.map { " in \($0)" } ?? "")
            }
        // Who reads through /dev/tty alone moves that file's time, which belongs to all terminals.
        let unreached = sight.accessed == nil ? "none of its processes shows the terminal" : nil
        return Signal(
            id: "terminal:\(session.device):\(session.leader):\(session.startTime)",
            kind: elsewhere == nil ? .terminal : .terminalPane,
            subject: HostileText.line(text, limitBytes: Self.subjectLimitBytes),
            detail: elsewhere ?? unreached,
            pid: session.leader, user: user, container: entry.container, since: sight.since,
            changedAt: sight.changedAt)
    }

    private static func blindSpot(_ denied: (count: Int, example: String)?, beyond: Int) -> String? {
        var parts: [String] = []
        if let denied {
            parts.append(
                "the terminals of \(denied.count) sessions cannot be looked at (\(denied.example)); run samd as root, or give"
                    + " it CAP_SYS_PTRACE")
        }
        if beyond > 0 {
            parts.append("\(beyond) terminals beyond the bound of \(terminalLimit) were not looked at")
        }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }
}
