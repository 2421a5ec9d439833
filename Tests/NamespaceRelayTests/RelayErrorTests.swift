import NamespaceRelay
import Testing

struct RelayErrorTests {
    @Test func `A target counts from nothing`() {
        #expect(RelayStatistics() == RelayStatistics())
    }
}
