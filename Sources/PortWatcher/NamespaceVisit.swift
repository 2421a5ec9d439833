import Glibc
import ProcFS

/// Looks into network namespaces that no process lives in, through their mounts.
///
/// A thread enters one after the other and ends in the last: none that lives on ever leaves the daemon's own namespace, and
/// no descriptor stays open that would keep a namespace alive.
final class NamespaceVisit {
    /// A namespace to look into.
    struct Request {
        var mount: MountedNamespace
        /// What was read there the last time.
        var before: [TCPTable: TableReader.Reading]
        /// Whether that may stand for what is there now, see `TableReader.tables`.
        var mayReuse: Bool
        /// Whether its addresses are wanted too.
        var wantsAddresses: Bool
    }

    /// What was found there.
    enum Answer {
        case tables([TCPTable: TableReader.Reading], addresses: Set<IPAddress>?)
        /// The mount is gone, or leads elsewhere now.
        case gone
        /// It could not be entered.
        case refused(ProcFSError)
    }

    private let procfs: ProcFileSystem
    private let requests: [Request]
    private var reader: TableReader
    private var answers: [Answer] = []

    private init(procfs: ProcFileSystem, requests: [Request], reader: TableReader) {
        self.procfs = procfs
        self.requests = requests
        self.reader = reader
    }

    /// The answers in the order of the requests. Blocks until the thread has ended.
    static func look(
        at requests: [Request], procfs: ProcFileSystem, reader: inout TableReader
    ) -> [Answer] {
        guard !requests.isEmpty else { return [] }
        let visit = NamespaceVisit(procfs: procfs, requests: requests, reader: reader)
        // Its buffer has one holder, else it would be copied.
        reader = TableReader(procfs: procfs)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<NamespaceVisit>.fromOpaque(context).takeUnretainedValue().run()
                return nil
            }, Unmanaged.passUnretained(visit).toOpaque())
        guard code == 0 else {
            let error = ProcFSError(
                "start a thread for", requests[0].mount.path, .kernel(Errno(rawValue: code)))
            return requests.map { _ in .refused(error) }
        }
        pthread_join(thread, nil)
        return withExtendedLifetime(visit) {
            reader = visit.reader
            return visit.answers
        }
    }

    private func run() {
        pthread_setname_np(pthread_self(), "samd-visit")
        // Signals are for the daemon's own handling.
        var signals = sigset_t()
        sigfillset(&signals)
        pthread_sigmask(SIG_SETMASK, &signals, nil)
        for request in requests { answers.append(answer(request)) }
    }

    private func answer(_ request: Request) -> Answer {
        let path = request.mount.path
        // What is mounted over it by now may be a pipe.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            let error = Errno.current
            if error.rawValue == ENOENT || error.rawValue == ENOTDIR { return .gone }
            return .refused(Self.refusal("open", path, error))
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, UInt64(status.st_ino) == request.mount.inode else {
            return .gone
        }
        // With the kind named, the kernel refuses every file that is no network namespace, and the unit's
        // RestrictNamespaces=net lets the call pass.
        guard setns(descriptor, CLONE_NEWNET) == 0 else {
            let error = Errno.current
            return error.rawValue == EINVAL ? .gone : .refused(Self.refusal("enter", path, error))
        }
        guard
            let tables = reader.tables(
                of: .currentThread, isOwn: false, before: request.before, mayReuse: request.mayReuse)
        else {
            return .refused(ProcFSError("read", "\(procfs.root)/thread-self/net", .notFound))
        }
        let addresses = request.wantsAddresses ? try? procfs.localAddresses(of: .currentThread) : nil
        return .tables(tables, addresses: addresses)
    }

    private static func refusal(_ operation: String, _ path: String, _ errno: Errno) -> ProcFSError {
        let isDenied = errno.rawValue == EPERM || errno.rawValue == EACCES
        return ProcFSError(operation, path, isDenied ? .denied(errno) : .kernel(errno))
    }
}
