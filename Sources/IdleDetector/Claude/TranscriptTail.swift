/// What the end of a session's transcript says about its turn: for versions that write no status.
///
/// A killed session leaves a turn in progress for ever, and a question to the user looks like a running tool.
struct TranscriptTail {
    /// Bytes of the end that are read.
    static let limitBytes = 256 << 10
    /// Lines from the end that are looked at.
    private static let lineLimit = 2048

    /// What a session does, as far as its transcript tells.
    enum Turn: Equatable, Sendable {
        case inProgress
        case finished
        /// The end holds nothing of a conversation.
        case unknown
    }

    /// Reads the end of a transcript.
    ///
    /// - Parameter isWhole: whether `text` begins where the file does; else its first line is a torn one. The last
    ///   line counts
    ///   only if a newline ends it.
    static func turn(_ text: [UInt8], isWhole: Bool) -> Turn {
        var end = text.count
        for _ in 0..<lineLimit {
            guard let newline = text[..<end].lastIndex(of: UInt8(ascii: "\n")) else { return .unknown }
            let start = text[..<newline].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            if start == 0, !isWhole { return .unknown }
            if let record = try? TranscriptRecord(text, in: start..<newline), let turn = record.turn {
                return turn
            }
            guard start > 0 else { return .unknown }
            end = start
        }
        return .unknown
    }
}

/// One line of a transcript, as far as it tells whether the turn goes on.
struct TranscriptRecord: Equatable {
    /// Bytes of a text that tell what it is.
    private static let prefixLimitBytes = 64

    var type: String?
    var subtype: String?
    var isSidechain = false
    /// Made by the program for the model: no prompt of a person, though it may begin a turn.
    var isMeta = false
    /// What a compaction left of the conversation.
    var isSummary = false
    var stopReason: String?
    /// The beginning of the first text.
    var text: String?
    var hasToolResult = false

    init(_ line: [UInt8], in range: Range<Int>) throws(MalformedJSON) {
        var reader = JSONReader(line, in: range)
        guard try reader.peek() == UInt8(ascii: "{") else { throw MalformedJSON() }
        var record = (type: String?.none, subtype: String?.none, stop: String?.none, text: String?.none)
        var flags = (sidechain: false, meta: false, summary: false, result: false)
        try reader.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
            switch name {
            case "type": record.type = try value.string(limitBytes: Self.prefixLimitBytes)
            case "subtype": record.subtype = try value.string(limitBytes: Self.prefixLimitBytes)
            case "isSidechain": flags.sidechain = try value.boolean() ?? false
            case "isMeta": flags.meta = try value.boolean() ?? false
            case "isCompactSummary", "isVisibleInTranscriptOnly":
                flags.summary = try value.boolean() ?? false || flags.summary
            case "message":
                try value.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
                    switch name {
                    case "stop_reason": record.stop = try value.string(limitBytes: Self.prefixLimitBytes)
                    case "content": try Self.content(&value, &record.text, &flags.result)
                    default: break
                    }
                }
            default: break
            }
        }
        type = record.type
        subtype = record.subtype
        stopReason = record.stop
        text = record.text
        isSidechain = flags.sidechain
        isMeta = flags.meta
        isSummary = flags.summary
        hasToolResult = flags.result
    }

    /// Nil for lines that are no part of the conversation.
    var turn: TranscriptTail.Turn? {
        guard !isSidechain, !isSummary else { return nil }
        switch type {
        case "system":
            return subtype == "turn_duration" ? .finished : nil
        case "assistant":
            switch stopReason {
            // Not yet known while the answer comes in, nor in an interrupted one, which another line follows.
            case nil, "tool_use", "pause_turn": return .inProgress
            default: return .finished
            }
        case "user":
            if hasToolResult { return .inProgress }
            guard let text else { return nil }
            if text.hasPrefix("[Request interrupted by user") { return .finished }
            // Commands that the program itself carries out.
            for tag in ["<local-command", "<command-name>", "<command-message>", "<bash-"]
            where text.hasPrefix(tag) {
                return nil
            }
            return .inProgress
        default: return nil
        }
    }

    private static func content(
        _ value: inout JSONReader, _ text: inout String?, _ hasToolResult: inout Bool
    ) throws(MalformedJSON) {
        if try value.peek() == UInt8(ascii: "\"") {
            text = try value.string(limitBytes: prefixLimitBytes)
            return
        }
        var first: String?
        var isResult = false
        try value.elements { (block: inout JSONReader) throws(MalformedJSON) in
            try block.members { (name: String, value: inout JSONReader) throws(MalformedJSON) in
                switch name {
                case "type":
                    isResult = try value.string(limitBytes: prefixLimitBytes) == "tool_result" || isResult
                case "text" where first == nil: first = try value.string(limitBytes: prefixLimitBytes)
                default: break
                }
            }
        }
        text = first
        hasToolResult = isResult
    }
}
