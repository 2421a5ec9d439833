import Testing

@testable import SamdCore

@Suite struct PortChangeTests {
    private func parse(_ text: String) throws(ProblemDetails) -> PortChange {
        try PortChange(parsing: Array(text.utf8))
    }

    @Test func `a body says what changes, and null says nothing`() throws {
        #expect(try parse(#"{"auth":"public"}"#) == PortChange(auth: .public))
        #expect(try parse(#"{"published":false,"auth":null}"#) == PortChange(published: false))
        #expect(try parse(#"{"reset":true}"#) == PortChange(isReset: true))
    }

    @Test(arguments: [
        ("", "no JSON object"), ("[]", "no JSON object"), ("{}", "changes nothing"),
        (#"{"auth":"open"}"#, "\"auth\" has a wrong value"),
        (#"{"published":1}"#, "\"published\" has a wrong value"),
        (#"{"public":true}"#, "\"public\" is no field"), ("{\"auth\":\"public\"", "no JSON object"),
        (#"{"auth":null}"#, "changes nothing"),
    ])
    func `a wrong body is a problem that says what is wrong and what to send`(body: String, detail: String) {
        do {
            let change = try parse(body)
            Issue.record("taken: \(change)")
        } catch {
            #expect(
                error.status == 400 && error.detail.contains(detail) && error.hint?.contains("auth") == true)
        }
    }
}
