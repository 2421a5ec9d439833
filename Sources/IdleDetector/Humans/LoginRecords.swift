/// Reads the records of utmp(5): pure. Programs of any login may write what they like there.
package enum LoginRecords {
    /// Bytes of a record: glibc keeps 32-bit times on x86-64 for the sake of 32-bit programs, and not on arm64.
    #if arch(x86_64)
        package static let recordBytes = 384
    #else
        package static let recordBytes = 400
    #endif
    /// Records that are read; a machine has one for each line that was ever used since it booted.
    package static let recordLimit = 4096
    /// Logins that are told about; the rest is left out.
    package static let loginLimit = 256
    /// Bytes of a file that are read.
    package static let limitBytes = recordLimit * recordBytes

    // ut_type of a user's login (USER_PROCESS), and where the fields are.
    private static let userProcess: UInt16 = 7
    private static let pid = 4..<8
    private static let line = 8..<40
    private static let user = 44..<76
    private static let host = 76..<332

    /// The users' logins; a torn record at the end is left out.
    package static func parse(_ bytes: [UInt8]) -> [Login] {
        var logins: [Login] = []
        var start = 0
        while start + recordBytes <= min(bytes.count, limitBytes), logins.count < loginLimit {
            if let login = login(bytes[start..<start + recordBytes]) { logins.append(login) }
            start += recordBytes
        }
        return logins
    }

    private static func login(_ record: ArraySlice<UInt8>) -> Login? {
        func field(_ range: Range<Int>) -> ArraySlice<UInt8> {
            // Filled with zeros, unless the text takes all of it.
            record[record.startIndex + range.lowerBound..<record.startIndex + range.upperBound].prefix {
                $0 != 0
            }
        }
        let type = UInt16(record[record.startIndex]) | UInt16(record[record.startIndex + 1]) << 8
        guard type == userProcess, let user = Login.shown(field(user)), let line = Login.shown(field(line))
        else {
            return nil
        }
        let pid = pid.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(record[record.startIndex + $1]) }
        guard let pid = Int32(exactly: pid), pid > 0 else { return nil }
        // X and multiplexers write `:0`, `:pts/2:S.0`, `tmux(4242).%0`: displays and panes of this machine.
        let host = field(host)
        let isLocal = host.first == UInt8(ascii: ":") || host.starts(with: "tmux(".utf8)
        return Login(
            id: "utmp:\(line):\(pid)", pid: pid, user: user, tty: line,
            remoteHost: isLocal ? nil : Login.shown(host))
    }
}
