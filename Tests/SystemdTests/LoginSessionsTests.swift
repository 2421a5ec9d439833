import Systemd
import Testing

@Suite("Login sessions")
struct LoginSessionsTests {
    @Test("the sessions of this machine can be listed, also where no logind runs")
    func listing() throws {
        let sessions = try LoginSessions.current()
        #expect(sessions.count <= LoginSessions.sessionLimit)
        #expect(sessions.allSatisfy { !$0.id.isEmpty })
    }
}
