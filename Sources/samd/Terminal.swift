import Glibc

/// Whole lines to standard output and error, one write(2) each: nothing waits in a buffer while events are followed.
enum Terminal {
    static func printLine(_ text: String) { emit(text, to: STDOUT_FILENO) }

    static func printError(_ text: String) { emit(text, to: STDERR_FILENO) }

    /// Text of other processes without what a terminal obeys: control characters become `?`.
    static func harmless(_ text: String) -> String {
        String(
            text.map {
                $0.unicodeScalars.contains { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) } ? "?" : $0
            })
    }

    private static func emit(_ text: String, to descriptor: Int32) {
        let line = text.hasSuffix("\n") ? text : text + "\n"
        _ = Array(line.utf8).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }
}
