import ProcFS
import SocketDiagnostics
import Testing

struct EndingConnectionsTests {
    @Test func `Nothing is ended where nothing is open`() throws {
        #expect(try SocketDiagnostics().endConnections(to: .loopbackIPv4, port: 1, heldBy: 1) == 0)
    }
}
