import CaddyConfig
import Testing

@Suite("JSON")
struct JSONValueTests {
    @Test(
        "Parses what RFC 8259 allows",
        arguments: [
            ("null", JSONValue.null), (" true ", true), ("[]", []), ("{}", [:]), ("-0", 0), ("12", 12),
            ("9223372036854775807", .integer(.max)),
            ("9223372036854775808", .double(9_223_372_036_854_775_808)),
            ("1.5e2", .double(150)), ("\"\"", ""), (#""a\"\\\/\b\f\n\r\té""#, "a\"\\/\u{8}\u{c}\n\r\té"),
            (#""\ud83d\ude00\u00e9""#, "😀é"), ("[1, [2],\n{\"a\" : null}]", [1, [2], ["a": .null]]),
            (#"{"a":1,"a":2}"#, ["a": 2]),
        ] as [(String, JSONValue)])
    func parses(text: String, value: JSONValue) throws {
        #expect(try JSONValue(parsing: Array(text.utf8)) == value)
    }

    @Test(
        "Refuses anything else, and says where",
        arguments: [
            ("", 0), ("nul", 0), ("[1,]", 3), ("{\"a\"}", 4), ("{a:1}", 1), ("01", 2), ("1.", 2), ("1e", 2),
            ("-", 1),
            ("+1", 0), ("\"a", 2), ("\"\n\"", 1), (#""\x""#, 3), (#""\ud83d""#, 7), (#""\ud83dA""#, 7),
            (#""\udc00""#, 7), ("[1 2]", 3), ("1 2", 2), ("1e999", 5), (#""\u00g0""#, 3), ("{\"a\":1", 6),
        ])
    func refuses(text: String, offset: Int) throws {
        let error = try #require(throws: JSONError.self) { try JSONValue(parsing: Array(text.utf8)) }
        #expect(error.offsetBytes == offset)
    }

    @Test("Refuses invalid UTF-8")
    func invalidUTF8() {
        #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xff, 0x22]) }
    }

    @Test("Nesting is bounded")
    func depth() throws {
        func nested(_ depth: Int) -> [UInt8] {
            Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8)
        }
        _ = try JSONValue(parsing: nested(JSONValue.maxDepth))
        #expect(throws: JSONError.self) { try JSONValue(parsing: nested(JSONValue.maxDepth + 1)) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: nested(1_000_000)) }
    }

    @Test("The order of keys does not count; that of elements does")
    func equality() throws {
        let one = try JSONValue(parsing: Array(#"{"a":[1,2],"b":{"c":true,"d":null}}"#.utf8))
        let other = try JSONValue(parsing: Array(#"{"b":{"d":null,"c":true},"a":[1,2]}"#.utf8))
        #expect(one == other)
        #expect(one.compact == other.compact)
        #expect(one != ["a": [2, 1], "b": ["c": true, "d": .null]])
    }

    @Test("What is rendered is parsed to the same value")
    func roundTrip() throws {
        let value: JSONValue = [
            "text": "a\"\\\n\u{1}/é😀", "numbers": [0, -5, .double(0.25), .integer(.min)], "empty": [[:], []],
            "nested": ["z": .null, "a": [true, false]],
        ]
        #expect(try JSONValue(parsing: Array(value.compact.utf8)) == value)
        #expect(try JSONValue(parsing: Array(value.pretty.utf8)) == value)
        #expect(!value.compact.contains(" "))
    }
}
