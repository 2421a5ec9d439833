package import ProcFS

/// Sees who is logged in over SSH, and bytes that flow there. Whoever fails to log in leaves no trace.
package struct SSHProbe: ActivityProbe {
    /// Connections and transfers that are watched; those with the lowest pids win.
    package static let processLimit = 256
    /// Processes with the name of one that are looked at; sshd lets 100 strangers in at once (MaxStartups).
    static let candidateLimit = 1024
    /// Bytes of `/proc/PID/io` that are read.
    private static let textLimitBytes = 1024

    package let name = "ssh"
    package let interval: Duration = .seconds(15)

    private struct Process: Hashable {
        var pid: Int32
        var startTime: UInt64
    }

    private struct Flow {
        var meter: FlowMeter
        var since: Moment
        var changedAt: Moment?
    }

    private let procfs: ProcFileSystem
    private let logins: LoginDirectory
    private var flows: [Process: Flow] = [:]
    private var since: [String: Moment] = [:]

    /// - Parameter logins: tells from where users logged in.
    package init(procfs: ProcFileSystem = ProcFileSystem(), logins: LoginDirectory = LoginDirectory()) {
        self.procfs = procfs
        self.logins = logins
    }

    package mutating func look(_ context: LookContext) -> ProbeFindings {
        let reading = logins.reading(at: context.now)
        var round = Round(context: context, reading: reading)
        let candidates = context.processes.entries.values.filter { Self.isCandidate($0) }.sorted {
            $0.pid < $1.pid
        }
        for entry in candidates.prefix(Self.candidateLimit) {
            guard round.watched.count < Self.processLimit else { break }
            look(at: entry, &round)
        }
        if round.watched.count >= Self.processLimit || candidates.count > Self.candidateLimit {
            round.problems.append("no more than \(Self.processLimit) SSH connections are watched")
        }
        for login in reading.logins where login.remoteHost != nil && !round.named.contains(login.id) {
            let who = login.user ?? login.uid.map { "uid \($0)" } ?? "somebody"
            add(
                "ssh:\(login.id)",
                "\(login.tty.map { "\($0), " } ?? "")\(who) from \(login.remoteHost ?? "")",
                pid: login.pid, user: login.user, container: nil, &round)
        }
        flows = flows.filter { round.watched.contains($0.key) }
        since = since.filter { round.ids.contains($0.key) }
        if let problem = reading.problem { round.problems.append(problem) }
        return ProbeFindings(
            signals: round.signals,
            blindSpot: round.problems.isEmpty ? nil : round.problems.joined(separator: "; "))
    }

    /// What one look gathers.
    private struct Round {
        let context: LookContext
        let reading: LoginDirectory.Reading
        var signals: [Signal] = []
        var ids: Set<String> = []
        /// Logins that a connection was found for.
        var named: Set<String> = []
        var watched: Set<Process> = []
        var problems: [String] = []
    }

    private static func isCandidate(_ entry: ProcessEntry) -> Bool {
        !entry.isZombie
            && (SSHConnection.mayServe(entry.name) || ["sftp-server", "rsync", "scp"].contains(entry.name))
    }

    private mutating func look(at entry: ProcessEntry, _ round: inout Round) {
        let arguments: [String]
        do throws(ProcFSError) {
            guard let read = try procfs.commandLine(of: entry.pid) else { return }
            arguments = read
        } catch {
            return note(error, &round)
        }
        let login = round.reading.login(of: entry, in: round.context.processes)
        let origin = login?.remoteHost.map { " from \($0)" } ?? entry.container.map { " in \($0)" } ?? ""
        if SSHConnection.mayServe(entry.name) {
            guard let title = arguments.first, let session = SSHConnection.session(title: title),
                entry.uid != 0 || session.isOpen || Self.hasSession(entry, in: round.context.processes)
            else { return }
            let user = HostileText.line(session.user, limitBytes: 64)
            let tty = session.tty.map { HostileText.line($0, limitBytes: 32) + ", " } ?? ""
            if let login { round.named.insert(login.id) }
            add(
                "ssh:\(entry.pid):\(entry.startTime)", "\(tty)\(user)\(origin)", pid: entry.pid, user: user,
                container: entry.container, &round)
            measure(entry, "SSH of \(user)\(origin)", user: user, &round)
        } else if SSHConnection.transfers(name: entry.name, arguments: arguments) {
            measure(entry, "\(entry.name)\(origin)", user: login?.user, &round)
        }
    }

    /// Whether a root's connection got as far as to start something: a program other than sshd's own.
    private static func hasSession(_ entry: ProcessEntry, in table: ProcessTable) -> Bool {
        table.entries.values.contains { $0.parent == entry.pid && !$0.name.hasPrefix("sshd") && !$0.isZombie }
    }

    private mutating func add(
        _ id: String, _ subject: String, pid: Int32?, user: String?, container: String?, _ round: inout Round
    ) {
        let begin = since[id] ?? round.context.now
        since[id] = begin
        round.ids.insert(id)
        round.signals.append(
            Signal(
                id: id, kind: .ssh, subject: HostileText.line(subject, limitBytes: 200), pid: pid, user: user,
                container: container, since: begin))
    }

    /// Measures what a process has read and written; a flow that was never there is no signal.
    private mutating func measure(
        _ entry: ProcessEntry, _ subject: String, user: String?, _ round: inout Round
    ) {
        let count: UInt64
        let path = "\(procfs.root)/\(entry.pid)/io"
        do throws(ProcFSError) {
            count = Self.ioBytes(try procfs.file(path, limitBytes: Self.textLimitBytes))
        } catch {
            return note(error, &round)
        }
        let now = round.context.now
        let process = Process(pid: entry.pid, startTime: entry.startTime)
        round.watched.insert(process)
        var flow = flows[process] ?? Flow(meter: FlowMeter(count: count, at: now), since: now)
        if flow.meter.advance(to: count, at: now) { flow.changedAt = now }
        flows[process] = flow
        guard let changedAt = flow.changedAt else { return }
        round.signals.append(
            Signal(
                id: "transfer:\(entry.pid):\(entry.startTime)", kind: .transfer,
                subject: HostileText.line(subject, limitBytes: 200), pid: entry.pid, user: user,
                container: entry.container, since: flow.since, changedAt: changedAt))
    }

    private func note(_ error: ProcFSError, _ round: inout Round) {
        // It is gone, which is normal.
        guard error.cause != .notFound, round.problems.count < 3 else { return }
        round.problems.append("\(error)" + (error.hint.map { "; \($0)" } ?? ""))
    }

    /// `rchar` and `wchar` of proc_pid_io(5): bytes of read(2), write(2) and their like, sockets and pipes among them.
    static func ioBytes(_ text: [UInt8]) -> UInt64 {
        var sum: UInt64 = 0
        for line in text.split(separator: UInt8(ascii: "\n")) {
            guard line.starts(with: "rchar: ".utf8) || line.starts(with: "wchar: ".utf8) else { continue }
            sum &+= UInt64(String(decoding: line.dropFirst(7), as: UTF8.self)) ?? 0
        }
        return sum
    }
}
