/// One of the kernel's two tables of TCP sockets, see proc_net_tcp in the kernel's networking documentation.
package enum TCPTable: String, CaseIterable, Sendable {
    /// `net/tcp`: sockets of family AF_INET.
    case ipv4 = "tcp"
    /// `net/tcp6`: sockets of family AF_INET6, which may serve IPv4 too.
    case ipv6 = "tcp6"
}

/// One socket that listens, as a row of the table says.
package struct TCPListener: Hashable, Sendable {
    /// The table that the row stands in.
    package var table: TCPTable
    /// The local address. An IPv4-mapped one is given as the IPv4 address, where alone it can be reached.
    package var address: IPAddress
    /// The local port.
    package var port: UInt16
    /// The user who made the socket.
    package var uid: UInt32
    /// The socket's inode, which `/proc/<pid>/fd` names; 0 for a socket that belongs to no process any more.
    package var inode: UInt64

    /// Creates a listener from its parts.
    package init(table: TCPTable, address: IPAddress, port: UInt16, uid: UInt32, inode: UInt64) {
        self.table = table
        self.address = address
        self.port = port
        self.uid = uid
        self.inode = inode
    }
}

/// A row that does not look as the kernel documents it.
package struct MalformedRow: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong with the row.
    package enum Problem: Hashable, Sendable {
        /// The row ends before this column.
        case missing(column: String)
        /// The column does not hold what it should.
        case unreadable(column: String)
        /// The text ends within the row.
        case unterminated
    }

    /// The line in the file; the header is line 1.
    package var line: Int
    /// What is wrong with the row.
    package var problem: Problem

    /// Creates a report of a row.
    package init(line: Int, problem: Problem) {
        self.line = line
        self.problem = problem
    }

    /// "line 7: column inode is missing".
    package var description: String {
        switch problem {
        case .missing(let column): "line \(line): column \(column) is missing"
        case .unreadable(let column): "line \(line): column \(column) is unreadable"
        case .unterminated: "line \(line): the text ends within the row"
        }
    }
}

/// The text is not the table that was asked for; nothing of it was used.
package struct WrongTableHeader: Error, Hashable, Sendable, CustomStringConvertible {
    /// The table that was expected.
    package var table: TCPTable
    /// The beginning of the first line, at most 160 bytes.
    package var found: String

    /// "line 1 is not the header of net/tcp: …".
    package var description: String { "line 1 is not the header of net/\(table.rawValue): \"\(found)\"" }
}

/// What one reading of a table says.
package struct TCPTableReading: Equatable, Sendable {
    /// How many malformed rows are kept for the report; more are only counted.
    package static let keptMalformedRows = 16

    /// The sockets that listen, in the table's order.
    package var listeners: [TCPListener] = []
    /// The number of rows, of every state, malformed ones included.
    package var rowCount = 0
    /// The number of rows that could not be read. If it is not 0, a missing listener proves nothing.
    package var malformedCount = 0
    /// The first of them.
    package var malformedRows: [MalformedRow] = []

    /// An empty reading.
    package init() {}
}
