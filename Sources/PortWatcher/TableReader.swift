import ProcFS

/// Reads the tables of several network namespaces within one bound of memory and time.
struct TableReader {
    /// Bytes that all namespaces but the daemon's own get together in one scan, about 220,000 sockets.
    static let sharedBytes = ProcFileSystem.tableLimitBytes
    /// Bytes that each table gets in any case: 400 listeners, which the kernel writes before all other sockets.
    static let leastBytes = 64 << 10

    /// What one table showed.
    struct Reading {
        var listeners: [TCPListener] = []
        var gap: PortScan.Gap?
        var byteCount = 0
        /// How many sockets of any state there were just before, if the kernel told.
        var socketCount: UInt64?

        /// Whether its next reading must not rely on a count.
        var mayHaveListeners: Bool { gap != nil || !listeners.isEmpty }
    }

    private let procfs: ProcFileSystem
    private var buffer = ReadBuffer()
    private var rest = 0
    private var tablesLeft = 0

    init(procfs: ProcFileSystem) { self.procfs = procfs }

    /// Divides the shared bytes among this many namespaces; to be read with the smallest first, so that what they leave
    /// goes to the larger.
    mutating func share(among namespaces: Int) {
        rest = Self.sharedBytes
        tablesLeft = namespaces * TCPTable.allCases.count
    }

    /// Reads both tables; `nil` if the process through which the namespace is seen is gone.
    ///
    /// The kernel's count of sockets is asked first, since a walk through its hash table takes 1.5 ms even where there is
    /// nothing to be found. It may be off by chance, so that it ends nothing: it only spares looks.
    ///
    /// - Parameters:
    ///   - before: what was read the last time. A table that had no listener is not read while it has no socket.
    ///   - mayReuse: a table that has as many sockets as then is not read at all: most likely they are the same ones.
    mutating func tables(
        of view: NetworkView, isOwn: Bool, before: [TCPTable: Reading], mayReuse: Bool = false
    ) -> [TCPTable: Reading]? {
        var readings: [TCPTable: Reading] = [:]
        for table in TCPTable.allCases {
            let socketCount = procfs.socketsInUse(in: table, of: view)
            let old = before[table]
            if let old, mayReuse, old.gap == nil, let socketCount, old.socketCount == socketCount {
                readings[table] = old
                continue
            }
            if socketCount == 0, old?.mayHaveListeners != true {
                readings[table] = Reading(socketCount: 0)
                continue
            }
            let limit = isOwn ? ProcFileSystem.tableLimitBytes : fairShare(tablesTaken: readings.count)
            do throws(ProcFSError) {
                let reading = try procfs.tcpListeners(in: table, of: view, buffer: &buffer, limitBytes: limit)
                readings[table] = Reading(
                    listeners: reading?.listeners ?? [],
                    gap: reading.flatMap { reading in
                        reading.malformedRows.first.map {
                            .malformed(rows: reading.malformedCount, first: $0)
                        }
                    },
                    byteCount: buffer.count, socketCount: socketCount)
            } catch {
                if !isOwn, error.isGone { return nil }
                readings[table] = Reading(gap: .unreadable(error))
            }
        }
        if !isOwn {
            tablesLeft -= TCPTable.allCases.count
            rest -= readings.values.reduce(0) { $0 + $1.byteCount }
        }
        return readings
    }

    private func fairShare(tablesTaken: Int) -> Int {
        max(Self.leastBytes, rest / max(1, tablesLeft - tablesTaken))
    }
}

extension ProcFSError {
    /// Whether the process, or its namespace, ended while it was looked at.
    var isGone: Bool {
        switch cause {
        case .notFound: true
        // The namespace is being taken apart (get_proc_net of the kernel).
        case .kernel(let errno): errno == .noSuchDevice
        case .denied, .tooLarge, .malformed: false
        }
    }
}
