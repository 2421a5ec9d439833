// Feeds bytes to the parsers of what /proc tells about one process. Beyond not trapping they must keep these promises:
//   - results stay within their bounds;
//   - what was read, written the way the kernel writes it, is read back as the same value.
//
// The first byte chooses the parser, the rest is its text.

enum Promise {
    static func check(_ input: UnsafeRawBufferPointer) {
        guard let selector = input.first else { return }
        let text = Array(input.dropFirst())
        switch selector {
        case UInt8(ascii: "s"): status(text)
        case UInt8(ascii: "i"): io(text)
        case UInt8(ascii: "e"): environment(text)
        case UInt8(ascii: "n"): namespacePIDs(text)
        case UInt8(ascii: "l"): loadAverage(text)
        default: traits(text)
        }
    }

    private static func status(_ text: [UInt8]) {
        guard let status = ProcessStatus(text.span) else { return }
        precondition(status.name.description.utf8.count <= 3 * ProcessName.limitBytes)
        var name: [UInt8] = []
        if let start = text.firstIndex(of: UInt8(ascii: "(")), let end = text.lastIndex(of: UInt8(ascii: ")"))
        {
            name = Array(text[(start + 1)..<end].prefix(ProcessName.limitBytes))
        }
        let numbers =
            " \(status.parent) \(status.group) \(status.session) \(status.terminal) \(status.foregroundGroup) "
            + "\(status.flags) 0 0 0 0 \(status.userTicks) \(status.systemTicks) \(status.childUserTicks) "
            + "\(status.childSystemTicks) 20 0 1 0 \(status.startTime) 9 9\n"
        let line = Array("7 (".utf8) + name + Array(") ".utf8) + [status.state] + Array(numbers.utf8)
        precondition(ProcessStatus(line.span) == status)
    }

    private static func io(_ text: [UInt8]) {
        guard let io = ProcText.io(text.span) else { return }
        precondition(io.total >= max(io.charactersRead, io.charactersWritten, io.bytesRead, io.bytesWritten))
        let lines =
            "rchar: \(io.charactersRead)\nwchar: \(io.charactersWritten)\nsyscr: 1\nsyscw: 1\n"
            + "read_bytes: \(io.bytesRead)\nwrite_bytes: \(io.bytesWritten)\ncancelled_write_bytes: 0\n"
        precondition(ProcText.io(Array(lines.utf8).span) == io)
    }

    private static func environment(_ text: [UInt8]) {
        let names: [StaticString] = ["CLAUDECODE", "CLAUDE_PID", "HOME", "A", ""]
        let values = ProcText.variables(names, in: text.span)
        precondition(values.count == names.count)
        for value in values {
            // Each byte that is no UTF-8 becomes three.
            precondition((value?.utf8.count ?? 0) <= 3 * ProcText.variableLimitBytes)
            precondition(value?.utf8.contains(0) != true)
        }
        // Whatever follows does not change what was found.
        let more = ProcText.variables(names, in: (text + Array("\0HOME=/x\0A=y\0".utf8)).span)
        for (before, after) in zip(values, more) where before != nil { precondition(before == after) }
        guard text.first != 0, let value = values[2], value.utf8.count <= ProcText.variableLimitBytes else {
            return
        }
        precondition(ProcText.variables(["HOME"], in: Array("HOME=\(value)\0".utf8).span) == [value])
    }

    private static func namespacePIDs(_ text: [UInt8]) {
        let pids = ProcText.namespacePIDs(text.span)
        precondition(pids.count <= ProcText.namespaceDepth && pids.allSatisfy { $0 >= 0 })
        let line = "Name:\tx\nNSpid:\(pids.map { "\t\($0)" }.joined())\n"
        precondition(ProcText.namespacePIDs(Array(line.utf8).span) == pids)
    }

    private static func loadAverage(_ text: [UInt8]) {
        guard let last = ProcText.lastProcess(text.span) else { return }
        precondition(last >= 0)
        precondition(ProcText.lastProcess(Array("0.1 0.2 0.3 1/9 \(last)\n".utf8).span) == last)
    }

    /// The first part is the name, the second and third are variables, the rest is the command line.
    private static func traits(_ text: [UInt8]) {
        let parts = text.split(separator: 0, omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        let catalogue = ProcessCatalogue()
        let traits = ProcessTraits(
            name: parts[0], command: Array(parts.dropFirst(3)), variables: Array(parts.dropFirst().prefix(2)),
            catalogue: catalogue)
        precondition(traits.agent.map { catalogue.agents.indices.contains($0) } != false)
        precondition(!traits.isInteractive || traits.isShell)
        precondition(traits.marker?.pid.map { $0 > 0 } != false)
    }
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafeRawPointer?, _ count: Int) -> CInt {
    Promise.check(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}
