// Feeds bytes to what reads Caddy's answers. Beyond not trapping it must keep these promises:
//   - a value is read back from both of its renderings as the same value;
//   - a message fits on one line of a bounded length;
//   - the path in an ETag is a part of it.

enum Promise {
    static func check(_ bytes: [UInt8]) {
        if let value = try? JSONValue(parsing: bytes) {
            precondition((try? JSONValue(parsing: Array(value.compact.utf8))) == value)
            precondition((try? JSONValue(parsing: Array(value.pretty.utf8))) == value)
        }
        let message = CaddyAnswer.message(bytes)
        precondition(message.count <= CaddyAnswer.maxMessageCharacters)
        precondition(!message.contains(where: \.isNewline))
        let etag = String(decoding: bytes, as: UTF8.self)
        if let path = CaddyAnswer.path(inETag: etag) {
            precondition(!path.contains(" "))
            precondition(etag.contains(path))
        }
    }
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafeRawPointer?, _ count: Int) -> CInt {
    Promise.check(Array(UnsafeRawBufferPointer(start: start, count: count)))
    return 0
}
