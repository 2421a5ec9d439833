/// Texts that others chose (names of users, hosts, files, processes), made fit to be shown.
package enum HostileText {
    /// The text as one line of at most `limitBytes` bytes of UTF-8. What a terminal would obey or hide (controls, line and
    /// paragraph separators, marks that turn the direction of writing) becomes `?`.
    package static func line(_ bytes: some Sequence<UInt8>, limitBytes: Int) -> String {
        // A character takes four bytes at most and its replacement three, so a bounded beginning is enough.
        let beginning = Array(bytes.prefix(limitBytes + 1))
        var kept = String.UnicodeScalarView()
        var count = 0
        for scalar in String(decoding: beginning, as: UTF8.self).unicodeScalars {
            let shown = isShown(scalar) ? scalar : "?"
            count += UTF8.width(shown)
            guard count <= limitBytes else { break }
            kept.append(shown)
        }
        return String(kept)
    }

    /// The same of a text.
    package static func line(_ text: String, limitBytes: Int) -> String {
        line(text.utf8, limitBytes: limitBytes)
    }

    private static func isShown(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
            false
        default: true
        }
    }
}
