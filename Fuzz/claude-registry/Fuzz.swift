// Feeds bytes to what reads a Claude session's file. Beyond not trapping it must keep these promises:
//   - texts are bounded and hold nothing that moves a terminal's cursor;
//   - a text that is a record is none any more once a byte of it is missing at the end;
//   - what follows blanks around it does not matter.

enum Promise {
    static func check(_ bytes: [UInt8]) {
        guard let record = try? SessionRecord(parsing: bytes) else { return }
        var other: String?
        if case .other(let word) = record.status { other = word }
        for text in [record.sessionID, record.waitingFor, record.version, record.kind, other] {
            guard let text else { continue }
            precondition(text.utf8.count <= SessionRecord.textLimitBytes)
            precondition(
                !text.unicodeScalars.contains { $0.value < 0x20 || (0x7f..<0xa0).contains($0.value) })
        }
        precondition(record.folder.map { $0.utf8.count <= SessionRecord.pathLimitBytes } ?? true)
        precondition((try? SessionRecord(parsing: [0x0a] + bytes + [0x20])) == record)
        if let end = bytes.lastIndex(of: UInt8(ascii: "}")) {
            precondition((try? SessionRecord(parsing: Array(bytes[..<end]))) == nil)
        }
    }
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafeRawPointer?, _ count: Int) -> CInt {
    Promise.check(Array(UnsafeRawBufferPointer(start: start, count: count)))
    return 0
}
