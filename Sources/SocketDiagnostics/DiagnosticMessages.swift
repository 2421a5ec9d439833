internal import CLinux
internal import Glibc
internal import ProcFS

/// One TCP socket as the kernel describes it (struct inet_diag_msg).
struct DiagnosedSocket: Equatable {
    var family: UInt8
    var remote: IPAddress
    var remotePort: UInt16
    /// 0 for one that no process holds any more.
    var inode: UInt64
    /// struct inet_diag_sockid: addresses, ports and the cookie that makes it this very socket.
    var identity: [UInt8]
}

/// What one datagram of the kernel holds.
struct DiagnosticBatch: Equatable {
    enum End: Equatable {
        /// More datagrams follow.
        case open
        /// The dump is complete.
        case done
        /// An acknowledgement (0) or a refusal.
        case status(errno: Int32)
    }

    var sockets: [DiagnosedSocket] = []
    var end = End.open
    /// The table changed while it was dumped: some sockets may be missing.
    var isInterrupted = false
}

/// The kernel's answer is not what it documents.
struct MalformedAnswer: Error, Equatable {
    var reason: String
}

/// Writes and reads the netlink messages of sock_diag(7). Pure: bytes in, values out.
enum DiagnosticMessages {
    static let headerBytes = 16
    /// struct inet_diag_req_v2 and struct inet_diag_msg; newer kernels may append to the latter.
    private static let requestBytes = 56
    private static let socketBytes = 72
    private static let identityBytes = 48

    /// States (1 << number, include/net/tcp_states.h) in which a socket of a process can still carry something:
    /// ESTABLISHED, SYN_SENT, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING.
    private static let openStates: UInt32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11

    /// Asks for all open TCP sockets of a family with that remote port.
    static func dump(family: UInt8, remotePort: UInt16, sequence: UInt32) -> [UInt8] {
        var identity = [UInt8](repeating: 0, count: identityBytes)
        identity[2] = UInt8(remotePort >> 8)
        identity[3] = UInt8(remotePort & 0xff)
        return request(
            type: UInt16(SOCK_DIAG_BY_FAMILY), flags: UInt16(NLM_F_REQUEST | NLM_F_DUMP), sequence: sequence,
            family: family, identity: identity)
    }

    /// Asks to end one socket.
    static func destroy(_ socket: DiagnosedSocket, sequence: UInt32) -> [UInt8] {
        request(
            type: UInt16(SOCK_DESTROY), flags: UInt16(NLM_F_REQUEST | NLM_F_ACK), sequence: sequence,
            family: socket.family, identity: socket.identity)
    }

    private static func request(
        type: UInt16, flags: UInt16, sequence: UInt32, family: UInt8, identity: [UInt8]
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(headerBytes + requestBytes)
        func append(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value) { bytes += $0 } }
        append(UInt32(headerBytes + requestBytes))
        append(type)
        append(flags)
        append(sequence)
        append(UInt32(0))
        bytes += [family, UInt8(IPPROTO_TCP), 0, 0]
        append(openStates)
        return bytes + identity
    }

    /// Reads one datagram; messages that answer another request are skipped.
    static func parse(_ bytes: ArraySlice<UInt8>, sequence: UInt32) throws(MalformedAnswer) -> DiagnosticBatch
    {
        var batch = DiagnosticBatch()
        var start = bytes.startIndex
        while start < bytes.endIndex {
            guard bytes.endIndex - start >= headerBytes else {
                throw MalformedAnswer(reason: "a header is cut off")
            }
            let length = Int(read(UInt32.self, bytes, start))
            guard length >= headerBytes, length <= bytes.endIndex - start else {
                throw MalformedAnswer(
                    reason: "a message of \(length) bytes where \(bytes.endIndex - start) are left")
            }
            if read(UInt32.self, bytes, start + 8) == sequence {
                let message = bytes[(start + headerBytes)..<(start + length)]
                if read(UInt16.self, bytes, start + 6) & UInt16(NLM_F_DUMP_INTR) != 0 {
                    batch.isInterrupted = true
                }
                try take(message, type: Int32(read(UInt16.self, bytes, start + 4)), into: &batch)
                if batch.end != .open { return batch }
            }
            // Messages begin at multiples of four; the last one may lack the padding.
            start += (length + 3) & ~3
        }
        return batch
    }

    private static func take(
        _ message: ArraySlice<UInt8>, type: Int32, into batch: inout DiagnosticBatch
    ) throws(MalformedAnswer) {
        switch type {
        case NLMSG_NOOP: return
        case NLMSG_DONE:
            // Carries the dump's own result since Linux 4.14; before it was empty.
            let status = message.count >= 4 ? read(Int32.self, message, message.startIndex) : 0
            batch.end = status < 0 ? .status(errno: try errorNumber(status)) : .done
        case NLMSG_ERROR:
            guard message.count >= 4 else { throw MalformedAnswer(reason: "an error without a number") }
            batch.end = .status(errno: try errorNumber(read(Int32.self, message, message.startIndex)))
        case Int32(SOCK_DIAG_BY_FAMILY): batch.sockets.append(try socket(message))
        default: throw MalformedAnswer(reason: "a message of type \(type)")
        }
    }

    private static func errorNumber(_ status: Int32) throws(MalformedAnswer) -> Int32 {
        guard status <= 0, status > -4096 else { throw MalformedAnswer(reason: "the error number \(status)") }
        return -status
    }

    private static func socket(_ message: ArraySlice<UInt8>) throws(MalformedAnswer) -> DiagnosedSocket {
        guard message.count >= socketBytes else {
            throw MalformedAnswer(reason: "a socket of \(message.count) bytes")
        }
        let start = message.startIndex
        // family, state, timer, retransmissions; then the identity: ports (2 × 2), addresses (2 × 16) …
        let family = message[start]
        let address = start + 24
        func word(_ index: Int) -> UInt32 {
            UInt32(bigEndian: read(UInt32.self, message, address + 4 * index))
        }
        let remote: IPAddress
        switch Int32(family) {
        case AF_INET: remote = .v4(word(0))
        case AF_INET6:
            remote = .v6(
                high: UInt64(word(0)) << 32 | UInt64(word(1)), low: UInt64(word(2)) << 32 | UInt64(word(3)))
        default: throw MalformedAnswer(reason: "a socket of family \(family)")
        }
        return DiagnosedSocket(
            family: family, remote: remote,
            remotePort: UInt16(bigEndian: read(UInt16.self, message, start + 6)),
            inode: UInt64(read(UInt32.self, message, start + 68)),
            identity: Array(message[(start + 4)..<(start + 4 + identityBytes)]))
    }

    /// The number in native byte order at an index that the caller has checked.
    private static func read<Value: FixedWidthInteger>(
        _ type: Value.Type, _ bytes: ArraySlice<UInt8>, _ index: Int
    ) -> Value {
        var value: Value = 0
        withUnsafeMutableBytes(of: &value) { target in
            for offset in 0..<target.count { target[offset] = bytes[index + offset] }
        }
        return value
    }
}
