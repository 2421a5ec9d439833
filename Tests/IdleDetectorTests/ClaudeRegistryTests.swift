import Glibc
import ProcFS
import Testing

@testable import IdleDetector
@testable import TestSupport

@Suite("The session registry of Claude")
struct ClaudeRegistryTests {
    @Test(
        "recorded sessions say what they do",
        arguments: [
            ("idle", SessionRecord.Status.idle, nil), ("shell", .shell, nil), ("busy", .busy, nil),
            ("waiting-permission", .waiting, "permission prompt"),
            ("waiting-input", .waiting, "input needed"),
            ("print", .busy, nil),
        ] as [(String, SessionRecord.Status, String?)])
    func recorded(_ name: String, _ status: SessionRecord.Status, _ waitingFor: String?) throws {
        let record = try SessionRecord(parsing: ClaudeFixtures.bytes("session-\(name).json"))
        #expect(record.status == status)
        #expect(record.waitingFor == waitingFor)
        #expect(record.folder == "/srv/app")
        #expect(record.processNamespace == ClaudeMachine.namespace)
        #expect(record.version == "2.1.330")
        #expect(record.kind == "interactive")
        #expect(record.startTime == (name == "print" ? 2_466_675 : ClaudeMachine.startTime))
    }

    @Test("every beginning of a session's text is torn, and so is a short text over a longer one")
    func torn() throws {
        let text = try ClaudeFixtures.bytes("session-waiting-input.json")
        for count in 0..<text.count {
            #expect(throws: MalformedJSON.self) { try SessionRecord(parsing: Array(text[..<count])) }
        }
        let short = Array(#"{"pid":1,"status":"idle"}"#.utf8)
        #expect(throws: MalformedJSON.self) { try SessionRecord(parsing: short + text[short.count...]) }
    }

    @Test("a status that is not known stays itself, a missing one is missing")
    func otherStatus() throws {
        #expect(
            try SessionRecord(parsing: Array(#"{"status":"dreaming"}"#.utf8)).status == .other("dreaming"))
        #expect(
            try SessionRecord(parsing: Array(#"{"status":7,"pid":"x","cwd":[1,{"a":2}]}"#.utf8))
                == SessionRecord())
        #expect(try SessionRecord(parsing: Array("{}".utf8)).status == nil)
    }

    @Test("texts are cut, and cleaned of what moves a terminal's cursor")
    func cleaned() throws {
        let text =
            #"{"waitingFor":"a\u001b[2Jb\nc\u202ed\u0000","sessionId":"\#(String(repeating: "ü", count: 999))"}"#
        let record = try SessionRecord(parsing: Array(text.utf8))
        #expect(record.waitingFor == "a?[2Jb?c?d?")
        #expect(record.sessionID == String(repeating: "ü", count: 128))
    }

    @Test("deep nesting and bytes that are no text do no harm")
    func hostile() {
        for text in [
            String(repeating: "[", count: 60_000), #"{"a":"# + String(repeating: #"{"a":"#, count: 9_000),
            "{\"status\"\0:\"busy\"}", "{\"status\":\"busy\",}", "{\"status\" \"busy\"}", "[]", "", "null",
        ] {
            #expect(throws: MalformedJSON.self) { try SessionRecord(parsing: Array(text.utf8)) }
        }
        let bytes: [UInt8] = Array(#"{"status":""#.utf8) + [0xff, 0xc3, 0x00] + Array(#""}"#.utf8)
        #expect(throws: Never.self) { try SessionRecord(parsing: bytes) }
    }

    @Test("a process's file is found by its number in its own namespace")
    func found() throws {
        let machine = try ClaudeMachine()
        #expect(try machine.read() == .absent)
        try machine.tree.write(ClaudeFixtures.text("session-busy.json"), to: machine.sessionFile)
        let record = try SessionRecord(parsing: ClaudeFixtures.bytes("session-busy.json"))
        #expect(try machine.read() == .record(record))
    }

    @Test("the file of another process that had the number counts as none")
    func stale() throws {
        let machine = try ClaudeMachine()
        let text = try ClaudeFixtures.text("session-busy.json")
        let changes = [
            ("2351385", "2351384"), ("4026531836", "4026531835"), (#""pid":14352"#, #""pid":14353"#),
        ]
        for (old, new) in changes {
            let parts = text.split(separator: old, maxSplits: 1)
            try machine.tree.write("\(parts[0])\(new)\(parts[1])", to: machine.sessionFile)
            #expect(try machine.read() == .absent)
        }
    }

    @Test("half a file is torn")
    func tornFile() throws {
        let machine = try ClaudeMachine()
        try machine.tree.write(#"{"pid":14352,"st"#, to: machine.sessionFile)
        #expect(try machine.read() == .torn)
        try machine.tree.write("", to: machine.sessionFile)
        #expect(try machine.read() == .torn)
    }

    @Test("the config dir is the environment's, the first of several, relative to where the process is")
    func configDir() throws {
        #expect(try ClaudeMachine().home.path == "/home/dev/.claude")
        #expect(
            try ClaudeMachine(environment: "CLAUDE_CONFIG_DIR=/x\0HOME=/y\0CLAUDE_CONFIG_DIR=/z\0").home.path
                == "/x")
        #expect(try ClaudeMachine(environment: "CLAUDE_CONFIG_DIR=conf\0").home.path == "/srv/app/conf")
        #expect(try ClaudeMachine(environment: "CLAUDE_CONFIG_DIR=\0HOME=/y/\0").home.path == "/y/.claude")
        #expect(throws: ClaudeHome.Failure.blind("its environment has neither CLAUDE_CONFIG_DIR nor HOME")) {
            try ClaudeMachine(environment: "XHOME=/y\0").home
        }
        let long = "HOME=/\(String(repeating: "x", count: 5000))\0"
        #expect(throws: ClaudeHome.Failure.self) { try ClaudeMachine(environment: long).home }
        let huge = "A=\(String(repeating: "x", count: 300 << 10))\0HOME=/y\0"
        #expect(throws: ClaudeHome.Failure.self) { try ClaudeMachine(environment: huge).home }
    }

    @Test("a process that is gone is gone, not blind")
    func gone() throws {
        let machine = try ClaudeMachine()
        #expect(throws: ClaudeHome.Failure.gone) { try ClaudeHome(of: 1, uid: 0, procfs: machine.procfs) }
    }
}
