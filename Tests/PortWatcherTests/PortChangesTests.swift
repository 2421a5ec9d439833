import ProcFS
import Testing

@testable import PortWatcher

@Suite struct PortChangesTests {
    private let start = SuspendingClock().now
    private var changes = PortChanges()

    private mutating func observe(_ scan: PortScan, after delay: Duration) -> PortChanges.Outcome {
        changes.observe(scan, at: start.advanced(by: delay))
    }

    private func ports(_ outcome: PortChanges.Outcome) -> [UInt16]? { outcome.snapshot?.map(\.identity.port) }

    @Test("The first scan is published, even if it is empty")
    mutating func firstIsPublished() {
        #expect(observe(Sample.scan(), after: .zero).snapshot == [])
        #expect(observe(Sample.scan(), after: .seconds(1)).snapshot == nil)
    }

    @Test("A first scan that could read nothing is no answer; the first that could is one")
    mutating func firstFailure() {
        let error = PortScan.Gap.unreadable(ProcFSError("open", "/proc", .notFound))
        let blind = Sample.scan(gaps: [.ipv4: error, .ipv6: error])
        #expect(observe(blind, after: .zero).snapshot == nil)
        #expect(observe(Sample.scan(), after: .seconds(1)).snapshot == [])
    }

    @Test("A new port is published at once, and the set is sorted")
    mutating func leadingEdge() {
        _ = observe(Sample.scan(), after: .zero)
        let outcome = observe(
            Sample.scan(
                Sample.observation(9), Sample.observation(3), Sample.observation(3, on: .loopbackIPv6)),
            after: .seconds(1))
        #expect(ports(outcome) == [3, 3, 9])
        #expect(outcome.snapshot?.first?.identity.address == .loopbackIPv4)
        #expect(outcome.snapshot?.first?.firstSeen == start.advanced(by: .seconds(1)))
        #expect(outcome.sawDifference && outcome.sawNewSocket)
        #expect(outcome.lookAgainAt == nil)
    }

    @Test("What follows within 20 ms goes in one change, at their end")
    mutating func settleWindow() {
        _ = observe(Sample.scan(), after: .zero)
        let one = Sample.observation(1)
        let two = Sample.observation(2)
        let three = Sample.observation(3)
        #expect(ports(observe(Sample.scan(one), after: .seconds(1))) == [1])
        let held = observe(Sample.scan(one, two), after: .seconds(1) + .milliseconds(5))
        #expect(held.snapshot == nil)
        #expect(held.lookAgainAt == start.advanced(by: .seconds(1) + .milliseconds(20)))
        #expect(observe(Sample.scan(one, two, three), after: .seconds(1) + .milliseconds(19)).snapshot == nil)
        let settled = observe(Sample.scan(one, two, three), after: .seconds(1) + .milliseconds(20))
        #expect(ports(settled) == [1, 2, 3])
        #expect(settled.lookAgainAt == nil)
    }

    @Test("A change that was held back is published even if the scan at its end fails")
    mutating func heldChangeSurvivesFailure() {
        _ = observe(Sample.scan(), after: .zero)
        _ = observe(Sample.scan(Sample.observation(1)), after: .milliseconds(10))
        let outcome = observe(Sample.scan(gaps: [.ipv4: Sample.gap]), after: .milliseconds(20))
        #expect(ports(outcome) == [1])
    }

    @Test("A port is removed only after 3 s of absence")
    mutating func removal() {
        _ = observe(Sample.scan(Sample.observation(1)), after: .zero)
        let absent = observe(Sample.scan(), after: .seconds(1))
        #expect(absent.snapshot == nil)
        #expect(absent.sawDifference && !absent.sawNewSocket)
        #expect(absent.lookAgainAt == start.advanced(by: .seconds(4)))
        let still = observe(Sample.scan(), after: .milliseconds(3999))
        #expect(still.snapshot == nil)
        #expect(!still.sawDifference)
        #expect(observe(Sample.scan(), after: .seconds(4)).snapshot == [])
    }

    @Test("A server that comes back in time keeps its port and first instant, and its new process is told")
    mutating func restart() {
        _ = observe(Sample.scan(Sample.observation(1, inode: 10, pid: 5)), after: .zero)
        _ = observe(Sample.scan(), after: .seconds(1))
        let back = observe(Sample.scan(Sample.observation(1, inode: 11, pid: 6)), after: .seconds(2))
        #expect(back.snapshot?.map(\.process?.pid) == [6])
        #expect(back.snapshot?.map(\.firstSeen) == [start])
        #expect(back.lookAgainAt == nil)
        _ = observe(Sample.scan(), after: .seconds(5))
        #expect(observe(Sample.scan(), after: .seconds(7)).snapshot == nil)
    }

    @Test("Another user on the number of an absent port withdraws it at once, within the settle window too")
    mutating func otherOwner() {
        let mine = Sample.observation(1, uid: 1000)
        let theirs = Sample.observation(1, uid: 1001)
        _ = observe(Sample.scan(mine), after: .zero)
        let outcome = observe(Sample.scan(theirs), after: .milliseconds(1))
        #expect(outcome.snapshot?.map(\.identity.ownerUID) == [1001])
        #expect(outcome.snapshot?.map(\.firstSeen) == [start.advanced(by: .milliseconds(1))])
    }

    @Test("Another user on the number of a port that waits for its removal withdraws it at once")
    mutating func otherOwnerLater() {
        _ = observe(Sample.scan(Sample.observation(1, uid: 1000)), after: .zero)
        _ = observe(Sample.scan(), after: .seconds(1))
        let taken = Sample.observation(1, on: .anyIPv6, uid: 1001)
        let outcome = observe(Sample.scan(taken), after: .seconds(2))
        #expect(outcome.snapshot?.map(\.identity.ownerUID) == [1001])
    }

    @Test("The same user on another address of the number replaces the absent one at once")
    mutating func otherAddress() {
        _ = observe(Sample.scan(Sample.observation(1)), after: .zero)
        let outcome = observe(Sample.scan(Sample.observation(1, on: .loopbackIPv6)), after: .seconds(1))
        #expect(outcome.snapshot?.map(\.identity.address) == [.loopbackIPv6])
    }

    @Test("Two users on two addresses of one number are two ports while both listen")
    mutating func twoOwners() throws {
        let other = try #require(IPAddress("127.0.0.2"))
        let scan = Sample.scan(
            Sample.observation(1, uid: 1000), Sample.observation(1, on: other, uid: 1001))
        #expect(observe(scan, after: .zero).snapshot?.count == 2)
    }

    @Test("An empty set is a real answer")
    mutating func emptySet() {
        _ = observe(Sample.scan(Sample.observation(1), Sample.observation(2)), after: .zero)
        _ = observe(Sample.scan(), after: .seconds(1))
        #expect(observe(Sample.scan(), after: .seconds(4)).snapshot == [])
    }

    @Test(
        "A table that could not be read whole removes nothing of its own, however long; the other still does")
    mutating func failedTable() {
        _ = observe(
            Sample.scan(Sample.observation(1), Sample.observation(2, on: .anyIPv6)), after: .zero)
        let blind = Sample.scan(gaps: [.ipv4: Sample.gap])
        _ = observe(blind, after: .seconds(1))
        let later = observe(blind, after: .seconds(100))
        #expect(ports(later) == [1])
        #expect(later.lookAgainAt == nil)
    }

    @Test("A port that is absent when scans begin to fail is removed only by a scan that does not")
    mutating func failureDuringRemoval() {
        _ = observe(Sample.scan(Sample.observation(1)), after: .zero)
        _ = observe(Sample.scan(), after: .seconds(1))
        let failed = observe(Sample.scan(gaps: [.ipv4: Sample.gap]), after: .seconds(4))
        #expect(failed.snapshot == nil)
        #expect(failed.lookAgainAt == nil)
        #expect(observe(Sample.scan(), after: .seconds(5)).snapshot == [])
    }

    @Test("A table with a gap still adds")
    mutating func gapAdds() {
        _ = observe(Sample.scan(), after: .zero)
        let outcome = observe(
            Sample.scan(Sample.observation(1), gaps: [.ipv4: Sample.gap]), after: .seconds(1))
        #expect(ports(outcome) == [1])
    }

    @Test("Sockets that share an identity are one port, and its known socket stays while it lives")
    mutating func sharedPort() {
        let low = Sample.observation(1, inode: 10, pid: 5)
        let high = Sample.observation(1, inode: 11, pid: 6)
        #expect(observe(Sample.scan(high), after: .zero).snapshot?.map(\.inode) == [11])
        #expect(observe(Sample.scan(low, high), after: .seconds(1)).snapshot == nil)
        #expect(observe(Sample.scan(high, low), after: .seconds(2)).snapshot == nil)
        #expect(observe(Sample.scan(low), after: .seconds(3)).snapshot?.map(\.inode) == [10])
    }

    private func returning(_ inodes: Set<UInt64>) -> PortScan {
        var scan = Sample.scan()
        scan.mayReturn = inodes
        return scan
    }

    @Test("A port whose server may return is kept for 30 s and looked at each 3 s")
    mutating func restartLikely() {
        _ = observe(Sample.scan(Sample.observation(1)), after: .zero)
        #expect(observe(returning([1]), after: .seconds(1)).lookAgainAt == start.advanced(by: .seconds(4)))
        var due: Duration = .seconds(4)
        while due < .seconds(31) {
            let outcome = observe(returning([1]), after: due)
            #expect(outcome.snapshot == nil)
            guard let next = outcome.lookAgainAt else {
                Issue.record("no look after \(due)")
                return
            }
            due = start.duration(to: next)
        }
        #expect(due == .seconds(31))
        #expect(observe(returning([1]), after: due).snapshot == [])
    }

    @Test("A port whose server turns out to be gone for good is removed by that scan, but not before 3 s")
    mutating func restartUnlikely() {
        _ = observe(Sample.scan(Sample.observation(1)), after: .zero)
        #expect(observe(returning([1]), after: .seconds(1)).snapshot == nil)
        #expect(observe(returning([]), after: .seconds(2)).snapshot == nil)
        #expect(observe(returning([1]), after: .seconds(10)).snapshot == nil)
        #expect(observe(returning([]), after: .seconds(11)).snapshot == [])
    }

    @Test(
        "Another listener on the number of a port that may return withdraws it at once, in its namespace only"
    )
    mutating func takenWhileReturning() {
        _ = observe(Sample.scan(Sample.observation(1, uid: 1000)), after: .zero)
        var scan = Sample.scan(Sample.observation(1, uid: 1001, inode: 2, in: 8))
        scan.mayReturn = [1]
        #expect(observe(scan, after: .seconds(10)).snapshot?.map(\.identity.ownerUID) == [1000, 1001])
        scan = Sample.scan(Sample.observation(1, uid: 1001, inode: 3))
        scan.mayReturn = [1]
        let outcome = observe(scan, after: .seconds(20))
        #expect(outcome.snapshot?.map(\.identity.namespace) == [7])
        #expect(outcome.snapshot?.map(\.identity.ownerUID) == [1001])
    }

    @Test("What listened in a namespace that is gone is withdrawn at once, within the settle window too")
    mutating func namespaceGone() {
        let mine = Sample.observation(1)
        _ = observe(Sample.scan(mine, Sample.observation(2, in: 8)), after: .zero)
        #expect(ports(observe(Sample.scan(mine), after: .milliseconds(1))) == [1])
    }

    @Test("A namespace that may only have been overlooked keeps its ports")
    mutating func namespaceUnknown() {
        let mine = Sample.observation(1)
        _ = observe(Sample.scan(mine, Sample.observation(2, in: 8)), after: .zero)
        var scan = Sample.scan(mine)
        scan.knowsAllNamespaces = false
        #expect(observe(scan, after: .seconds(100)).snapshot == nil)
        scan = Sample.scan(mine)
        scan.unreadNamespaces = [8]
        #expect(observe(scan, after: .seconds(200)).snapshot == nil)
    }

    @Test("In a new namespace with an old number nothing is kept, and a port is a new one")
    mutating func namespaceRenewed() {
        _ = observe(Sample.scan(Sample.observation(1, in: 8), Sample.observation(2, in: 8)), after: .zero)
        var scan = Sample.scan(Sample.observation(1, in: 8))
        scan.renewedNamespaces = [8]
        let outcome = observe(scan, after: .milliseconds(1))
        #expect(ports(outcome) == [1])
        #expect(outcome.snapshot?.map(\.firstSeen) == [start.advanced(by: .milliseconds(1))])
    }

    @Test("A gap in one namespace keeps nothing in another")
    mutating func gapElsewhere() {
        _ = observe(Sample.scan(Sample.observation(1), Sample.observation(2, in: 8)), after: .zero)
        var scan = Sample.scan(gaps: [:])
        scan.namespaces = [7, 8]
        scan.gaps = [PortScan.Place(namespace: 8, table: .ipv4): Sample.gap]
        _ = observe(scan, after: .seconds(1))
        #expect(ports(observe(scan, after: .seconds(4))) == [2])
    }
}
