import Glibc

/// Login names and user ids (passwd(5)).
package protocol UserDatabase: Sendable {
    /// The id of a login name, or nil when there is no such user.
    func uid(of name: String) -> UInt32?
    /// The login name of an id, or nil when it has none.
    func name(of uid: UInt32) -> String?
}

/// The machine's own user database, through NSS.
package struct SystemUsers: UserDatabase {
    package init() {}

    package func uid(of name: String) -> UInt32? {
        entry { getpwnam_r(name, $0, $1, $2, $3) }?.uid
    }

    package func name(of uid: UInt32) -> String? {
        entry { getpwuid_r(uid, $0, $1, $2, $3) }?.name
    }

    /// Whether a user, whose primary group is `gid`, is a member of the group called `group`.
    package func isMember(uid: UInt32, gid: UInt32, of group: String) -> Bool {
        var record = Glibc.group()
        var found: UnsafeMutablePointer<Glibc.group>?
        var buffer = [CChar](repeating: 0, count: 16 * 1024)
        guard getgrnam_r(group, &record, &buffer, buffer.count, &found) == 0, found != nil else {
            return false
        }
        guard let name = name(of: uid) else { return record.gr_gid == gid }
        var groups = [gid_t](repeating: 0, count: 256)
        var count = Int32(groups.count)
        guard getgrouplist(name, gid, &groups, &count) >= 0 else { return false }
        return groups.prefix(Int(count)).contains(record.gr_gid)
    }

    private typealias Query = (
        UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int,
        UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
    ) -> Int32

    private func entry(_ query: Query) -> (uid: UInt32, name: String)? {
        var record = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 * 1024)
        return buffer.withUnsafeMutableBufferPointer { memory in
            guard query(&record, memory.baseAddress!, memory.count, &found) == 0, found != nil else {
                return nil
            }
            return (record.pw_uid, String(cString: record.pw_name))
        }
    }
}
