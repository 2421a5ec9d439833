import CLinux
import Glibc
import ProcFS
import Testing

@testable import SocketDiagnostics

struct DiagnosticMessagesTests {
    /// Writes messages as the kernel does.
    private struct Writer {
        var bytes: [UInt8] = []

        mutating func append(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value) { bytes += $0 } }

        mutating func message(_ type: Int32, flags: Int32 = 0, sequence: UInt32 = 7, _ body: [UInt8]) {
            append(UInt32(16 + body.count))
            append(UInt16(type))
            append(UInt16(flags))
            append(sequence)
            append(UInt32(0))
            bytes += body + [UInt8](repeating: 0, count: -body.count & 3)
        }

        static func socket(family: Int32, remote: [UInt8], port: UInt16, inode: UInt32, extra: Int = 0)
            -> [UInt8]
        {
            var writer = Writer()
            writer.bytes = [UInt8(family), 1, 0, 0]
            writer.append(UInt16(40_000).bigEndian)
            writer.append(port.bigEndian)
            writer.bytes += [UInt8](repeating: 0, count: 16)
            writer.bytes += remote + [UInt8](repeating: 0, count: 16 - remote.count)
            writer.append(UInt32(0))  // interface
            writer.append(UInt64(0xfeed))  // cookie
            for number in [UInt32(0), 0, 0, 1000, inode] { writer.append(number) }
            return writer.bytes + [UInt8](repeating: 0xee, count: extra)
        }

        static func status(_ number: Int32) -> [UInt8] {
            var writer = Writer()
            writer.append(number)
            return writer.bytes
        }
    }

    private static let kind = Int32(SOCK_DIAG_BY_FAMILY)

    @Test func `Sockets of both families are read with what names them`() throws {
        var writer = Writer()
        writer.message(
            Self.kind, flags: NLM_F_MULTI,
            Writer.socket(family: AF_INET, remote: [127, 0, 0, 1], port: 3000, inode: 5, extra: 10))
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]
        writer.message(Self.kind, Writer.socket(family: AF_INET6, remote: mapped, port: 65535, inode: .max))
        writer.message(NLMSG_DONE, Writer.status(0))
        let batch = try DiagnosticMessages.parse(writer.bytes[...], sequence: 7)
        #expect(batch.end == .done)
        #expect(!batch.isInterrupted)
        #expect(batch.sockets.map(\.remote.unmapped) == [.loopbackIPv4, .loopbackIPv4])
        #expect(batch.sockets.map(\.remotePort) == [3000, 65535])
        #expect(batch.sockets.map(\.inode) == [5, UInt64(UInt32.max)])
        #expect(batch.sockets.map(\.identity.count) == [48, 48])
        #expect(batch.sockets[0].identity.suffix(8).elementsEqual([0xed, 0xfe, 0, 0, 0, 0, 0, 0]))
    }

    @Test func `A dump ends with done, with an error, or goes on`() throws {
        func end(_ type: Int32, _ body: [UInt8]) throws -> DiagnosticBatch.End {
            var writer = Writer()
            writer.message(type, body)
            return try DiagnosticMessages.parse(writer.bytes[...], sequence: 7).end
        }
        #expect(try end(NLMSG_DONE, []) == .done)
        #expect(try end(NLMSG_DONE, Writer.status(-ENOENT)) == .status(errno: ENOENT))
        #expect(try end(NLMSG_ERROR, Writer.status(0)) == .status(errno: 0))
        #expect(try end(NLMSG_ERROR, Writer.status(-EPERM)) == .status(errno: EPERM))
        #expect(try end(NLMSG_NOOP, []) == .open)
        #expect(try DiagnosticMessages.parse([], sequence: 7) == DiagnosticBatch())
    }

    @Test func `An interrupted dump says so, and answers to other requests are skipped`() throws {
        let socket = Writer.socket(family: AF_INET, remote: [10, 0, 0, 1], port: 80, inode: 1)
        var writer = Writer()
        writer.message(Self.kind, sequence: 6, socket)
        writer.message(NLMSG_DONE, sequence: 6, [])
        writer.message(Self.kind, flags: NLM_F_DUMP_INTR, socket)
        let batch = try DiagnosticMessages.parse(writer.bytes[...], sequence: 7)
        #expect(batch.sockets.count == 1)
        #expect(batch.end == .open)
        #expect(batch.isInterrupted)
    }

    @Test func `Whatever is cut off is refused`() throws {
        var writer = Writer()
        writer.message(
            Self.kind, Writer.socket(family: AF_INET, remote: [127, 0, 0, 1], port: 3000, inode: 5))
        for length in 1..<writer.bytes.count {
            #expect(throws: MalformedAnswer.self) {
                try DiagnosticMessages.parse(writer.bytes.prefix(length), sequence: 7)
            }
        }
        // Shorter than it has to be, but whole as a message.
        for length in 0..<72 {
            var short = Writer()
            short.message(Self.kind, [UInt8](repeating: 2, count: length))
            #expect(throws: MalformedAnswer.self) {
                try DiagnosticMessages.parse(short.bytes[...], sequence: 7)
            }
        }
        for (type, body) in [
            (NLMSG_ERROR, []), (NLMSG_ERROR, Writer.status(5)), (NLMSG_ERROR, Writer.status(.min)), (99, []),
            (Self.kind, Writer.socket(family: AF_UNIX, remote: [], port: 1, inode: 1)),
        ] as [(Int32, [UInt8])] {
            var writer = Writer()
            writer.message(type, body)
            #expect(throws: MalformedAnswer.self) {
                try DiagnosticMessages.parse(writer.bytes[...], sequence: 7)
            }
        }
    }

    @Test func `Arbitrary bytes never do more than fail`() {
        var generator = SystemRandomNumberGenerator()
        var writer = Writer()
        for _ in 0..<3 {
            writer.message(Self.kind, Writer.socket(family: AF_INET6, remote: [1], port: 3000, inode: 5))
        }
        for _ in 0..<20_000 {
            var bytes = writer.bytes
            for _ in 0..<Int.random(in: 1...4) {
                bytes[Int.random(in: bytes.indices, using: &generator)] = .random(
                    in: 0...255, using: &generator)
            }
            _ = try? DiagnosticMessages.parse(bytes.dropLast(Int.random(in: 0...80)), sequence: 7)
        }
    }
}
