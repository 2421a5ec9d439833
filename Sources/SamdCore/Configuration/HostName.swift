/// What may stand in a host name (RFC 1123).
enum HostName {
    /// One label: letters, digits and inner hyphens, at most 63.
    static func isLabel(_ text: String) -> Bool {
        (1...63).contains(text.utf8.count) && !text.hasPrefix("-") && !text.hasSuffix("-")
            && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
    }

    /// A name of one or more labels, at most 253 characters.
    static func isValid(_ text: String) -> Bool {
        text.utf8.count <= 253
            && text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { isLabel(String($0)) }
    }

    /// A pattern holds each of `{port}`, `{vm}` and `{domain}` once, begins with the port and makes a valid name.
    static func isPattern(_ text: String) -> Bool {
        guard text.hasPrefix("{port}"), text.hasSuffix(".{domain}") else { return false }
        guard
            ["{port}", "{vm}", "{domain}"].allSatisfy({
                text.split(separator: $0, omittingEmptySubsequences: false).count == 2
            })
        else { return false }
        return isValid(expand(text, port: "65535", vm: "vm", domain: "example.com"))
    }

    /// Fills a pattern in.
    static func expand(_ pattern: String, port: String, vm: String, domain: String) -> String {
        var result = pattern[...]
        var name = ""
        while let open = result.firstIndex(of: "{"), let close = result[open...].firstIndex(of: "}") {
            name += result[..<open]
            switch result[open...close] {
            case "{port}": name += port
            case "{vm}": name += vm
            case "{domain}": name += domain
            default: name += result[open...close]
            }
            result = result[result.index(after: close)...]
        }
        return name + result
    }
}
