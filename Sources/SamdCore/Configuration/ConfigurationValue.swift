import TOMLKit

/// A value of a TOML document, free of the parser that read it.
enum ConfigurationValue: Equatable {
    case string(String)
    case integer(Int)
    case number(Double)
    case boolean(Bool)
    case date
    case array([ConfigurationValue])
    case table([String: ConfigurationValue])

    /// Parses a whole document.
    /// - Throws: `ConfigurationProblem` with the line of a syntax error.
    static func parse(_ text: String) throws(ConfigurationProblem) -> [String: ConfigurationValue] {
        do {
            return try convert(TOMLTable(string: text))
        } catch let error as TOMLParseError {
            throw ConfigurationProblem(
                line: error.source.begin.line, key: nil, problem: "not valid TOML: \(error.description)",
                accepted: "lines of the form key = value under a [section]")
        } catch {
            throw ConfigurationProblem(
                line: nil, key: nil, problem: "not valid TOML: \(error)", accepted: "TOML 1.0")
        }
    }

    private static func convert(_ table: TOMLTable) -> [String: ConfigurationValue] {
        var result: [String: ConfigurationValue] = [:]
        for key in table.keys {
            if let value = table[key] { result[key] = convert(value) }
        }
        return result
    }

    private static func convert(_ value: any TOMLValueConvertible) -> ConfigurationValue {
        switch value.type {
        case .table: .table(value.table.map(convert) ?? [:])
        case .array: .array((value.array.map { Array($0) } ?? []).map { convert($0) })
        case .string: .string(value.string ?? "")
        case .int: .integer(value.int ?? 0)
        case .double: .number(value.double ?? 0)
        case .bool: .boolean(value.bool ?? false)
        case .date, .time, .dateTime: .date
        }
    }

    /// The value as an error message names it, for example `the string "abc"`.
    var described: String {
        switch self {
        case .string(let text): "the string \"\(text.prefix(60))\""
        case .integer(let value): "the number \(value)"
        case .number(let value): "the number \(value)"
        case .boolean(let value): "\(value)"
        case .date: "a date"
        case .array(let values): "a list of \(values.count)"
        case .table: "a section"
        }
    }
}

/// Finds the line on which a key of a TOML document is written; the parser keeps none for values.
struct ConfigurationLines {
    private var lines: [String: Int] = [:]

    /// Scans `[section]` headers and `key =` lines; content of multi-line strings and lists is skipped.
    init(_ text: String) {
        var section = ""
        var openBrackets = 0
        var multiline: String?
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let trimmed = Self.trim(line)
            if let quote = multiline {
                if trimmed.contains(quote) { multiline = nil }
                continue
            }
            if openBrackets > 0 {
                openBrackets += Self.bracketBalance(trimmed)
                continue
            }
            if trimmed.hasPrefix("[") {
                section = Self.dotted(trimmed.drop { $0 == "[" }.prefix { $0 != "]" })
                lines[section] = lines[section] ?? index + 1
            } else if let equals = trimmed.firstIndex(of: "="), !trimmed.hasPrefix("#") {
                let key = Self.dotted(trimmed[..<equals])
                let path = section.isEmpty ? key : "\(section).\(key)"
                lines[path] = lines[path] ?? index + 1
                let value = trimmed[trimmed.index(after: equals)...]
                for quote in ["\"\"\"", "'''"]
                where value.split(separator: quote, omittingEmptySubsequences: false).count == 2 {
                    multiline = quote
                }
                openBrackets = max(0, Self.bracketBalance(value))
            }
        }
    }

    /// The line (from 1) of a dotted key path, or of the closest table around it.
    func line(of path: String) -> Int? {
        var path = path[...]
        while !path.isEmpty {
            if let line = lines[String(path)] { return line }
            guard let dot = path.lastIndex(of: ".") else { return nil }
            path = path[..<dot]
        }
        return nil
    }

    private static func trim(_ text: Substring) -> Substring {
        let start = text.drop { $0.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return start[...last]
    }

    private static func dotted(_ key: Substring) -> String {
        key.split(separator: ".").map { trim($0).filter { $0 != "\"" && $0 != "'" } }.joined(separator: ".")
    }

    private static func bracketBalance(_ text: Substring) -> Int {
        text.prefix { $0 != "#" }.reduce(0) { $0 + ($1 == "[" ? 1 : $1 == "]" ? -1 : 0) }
    }
}
