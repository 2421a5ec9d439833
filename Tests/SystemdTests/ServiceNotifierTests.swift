import Testing

@testable import Systemd

@Suite struct ServiceNotifierTests {
    @Test func `a status with line breaks stays one assignment`() {
        #expect(ServiceNotifier.oneLine("a\nREADY=1\r\nb") == "a READY=1 b")
    }
}
