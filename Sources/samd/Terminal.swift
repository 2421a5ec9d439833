import Glibc

/// Whole lines to standard output and error, one write(2) each: nothing waits in a buffer while events are followed.
enum Terminal {
    static func printLine(_ text: String) { emit(text, to: STDOUT_FILENO) }

    static func printError(_ text: String) { emit(text, to: STDERR_FILENO) }

    private static func emit(_ text: String, to descriptor: Int32) {
        let line = text.hasSuffix("\n") ? text : text + "\n"
        _ = Array(line.utf8).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    }
}
