import IdleDetector
import Testing

@Suite("Moments")
struct MomentTests {
    @Test("a moment and a duration add up in milliseconds, also beyond what Int64 nanoseconds hold")
    func arithmetic() {
        let century: Duration = .seconds(100 * 365 * 86_400)
        let moment = Moment(milliseconds: 5) + century
        #expect(moment - Moment(milliseconds: 5) == century)
        #expect(moment > .boot)
        #expect(moment - century == Moment(milliseconds: 5))
    }

    @Test("the kernel's present goes forward")
    func present() {
        let first = Moment.now()
        #expect(first > .boot)
        #expect(Moment.now() >= first)
    }
}
