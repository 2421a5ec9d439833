import FoundationEssentials
import IdleDetector
import Testing

@testable import SamdCore

private let dev = Holder(uid: 1000, user: "dev", pid: 42, command: "samd")
private let devInBox = Holder(uid: 1000, user: "dev", pid: 43, container: "box")
private let rootInBox = Holder(uid: 0, user: "root", pid: 44, container: "box")
private let make = BoundProcess(pid: 42, startTime: 7)

/// So many seconds after the boot, and after a point in time of the wall clock.
private func present(_ seconds: Int64, wall: Double? = nil) -> Present {
    Present(
        moment: Moment(milliseconds: seconds * 1000),
        wall: Date(timeIntervalSince1970: 1_000_000 + (wall ?? Double(seconds))))
}

private let cap: Duration = .seconds(86_400)

extension Holds {
    /// Takes one whose details do not matter.
    fileprivate mutating func take(
        _ id: String, seconds: Int64? = nil, by holder: Holder = dev, process: BoundProcess? = nil,
        at now: Present = present(0)
    ) throws -> Hold {
        let request = HoldRequest(
            reason: "r", duration: seconds.map { .seconds($0) }, whileProcess: process != nil)
        return try take(request, by: holder, process: process, id: id, now: now, cap: cap)
    }
}

@Suite struct HoldsTests {
    @Test func `a hold lasts for its time on the monotonic clock, whatever the wall clock does`() throws {
        var holds = Holds()
        let hold = try holds.take("a", seconds: 7200, at: present(100))
        #expect(hold.deadline == Moment(milliseconds: 7_300_000))
        #expect(holds.expire(at: Moment(milliseconds: 7_299_999)) { _ in true } == [])
        #expect(
            holds.expire(at: Moment(milliseconds: 7_300_000)) { _ in true }
                == [EndedHold(hold: hold, cause: .expired)])
        #expect(holds.list.isEmpty)
    }

    @Test func `a hold for a process ends with it, and at the cap`() throws {
        var holds = Holds()
        let hold = try holds.take("a", process: make)
        #expect(hold.deadline == Moment.boot + cap && hold.process == make)
        #expect(holds.expire(at: .boot) { $0 == make } == [])
        #expect(holds.expire(at: .boot) { _ in false } == [EndedHold(hold: hold, cause: .processEnded)])
        let other = try holds.take("b", seconds: 60, process: make)
        #expect(other.deadline == Moment(milliseconds: 60_000), "a time bounds it as well")
    }

    @Test func `what is too long, or bound to nobody, is refused with the way out`() throws {
        var holds = Holds()
        #expect {
            try holds.take("a", seconds: 86_401)
        } throws: {
            let problem = $0 as? ProblemDetails
            return problem?.type == "urn:samd:problem:hold-too-long" && problem?.detail.contains("1d") == true
        }
        let request = HoldRequest(whileProcess: true)
        #expect {
            try holds.take(request, by: dev, process: nil, id: "a", now: present(0), cap: cap)
        } throws: {
            ($0 as? ProblemDetails)?.type == "urn:samd:problem:no-such-process"
        }
        #expect(holds.list.isEmpty)
    }

    @Test func `one user does not take all, and all users together do not take more than the bound`() throws {
        var holds = Holds()
        for number in 0..<Holds.limitPerUser { _ = try holds.take("a\(number)", seconds: 60) }
        #expect { try holds.take("x", seconds: 60) } throws: { ($0 as? ProblemDetails)?.status == 429 }
        _ = try holds.take("box", seconds: 60, by: devInBox)
        for uid in 1...3 as ClosedRange<UInt32> {
            let holder = Holder(uid: uid, pid: 1)
            for number in 0..<(uid == 3 ? Holds.limitPerUser - 1 : Holds.limitPerUser) {
                _ = try holds.take("\(uid)-\(number)", seconds: 60, by: holder)
            }
        }
        #expect(holds.list.count == Holds.limit)
        #expect { try holds.take("x", seconds: 60, by: rootInBox) } throws: {
            ($0 as? ProblemDetails)?.status == 503
        }
    }

    @Test func `who took a hold ends it, and so does who decides about the machine`() throws {
        var holds = Holds()
        let hold = try holds.take("a", seconds: 60)
        for stranger in [devInBox, rootInBox, Holder(uid: 1001, pid: 1)] {
            #expect { try holds.release("a", by: stranger, mayReleaseAny: false) } throws: {
                ($0 as? ProblemDetails)?.status == 403
            }
        }
        #expect(try holds.release("a", by: dev, mayReleaseAny: false) == hold)
        #expect { try holds.release("a", by: dev, mayReleaseAny: true) } throws: {
            ($0 as? ProblemDetails)?.type == "urn:samd:problem:no-such-hold"
        }
        _ = try holds.take("b", seconds: 60, by: rootInBox)
        #expect(try holds.release("b", by: dev, mayReleaseAny: true).by == rootInBox)
    }

    @Test func `two containers whose names are unknown are not one`() throws {
        let somewhere = Holder(uid: 0, pid: 1, container: Holder.unknownContainer)
        var holds = Holds()
        _ = try holds.take("a", seconds: 60, by: somewhere)
        #expect { try holds.release("a", by: somewhere, mayReleaseAny: false) } throws: {
            ($0 as? ProblemDetails)?.status == 403
        }
    }

    @Test func `idle detection is told who holds the machine, why and until when`() throws {
        var holds = Holds()
        let agent = Holder(uid: 0, user: "root", pid: 9, container: "box", isAgent: true)
        _ = try holds.take("a", seconds: 60, by: agent, process: make, at: present(5))
        let signal = try #require(holds.signals(now: Moment(milliseconds: 6000)).first)
        #expect(
            signal.id == "hold:a" && signal.kind == .hold
                && signal.subject == "of an agent of root in box")
        #expect(
            signal.detail == "r" && signal.pid == 42 && signal.user == "root" && signal.container == "box")
        #expect(signal.since == Moment(milliseconds: 5000) && signal.until == Moment(milliseconds: 65_000))
        #expect(holds.signals(now: Moment(milliseconds: 65_000)).isEmpty)
    }

    // MARK: Restarts

    @Test func `within a boot the monotonic clock decides, also after the wall clock was set`() throws {
        var holds = Holds()
        _ = try holds.take("a", seconds: 600, at: present(100))
        _ = try holds.take("b", process: make, at: present(100))
        let saved = holds.saved(bootID: "one", at: present(100))
        let (restored, ended) = Holds.restored(from: saved, bootID: "one", now: present(200, wall: -50_000))
        #expect(restored == holds && ended.isEmpty)
    }

    @Test func `after a reboot what is left counts by the wall clock, and processes are gone`() throws {
        var holds = Holds()
        _ = try holds.take("a", seconds: 600, at: present(100))
        let bound = try holds.take("b", process: make, at: present(100))
        let saved = holds.saved(bootID: "one", at: present(100))
        let (restored, ended) = Holds.restored(from: saved, bootID: "two", now: present(3, wall: 400))
        #expect(ended == [EndedHold(hold: bound, cause: .processEnded)])
        #expect(restored.list.map(\.id) == ["a"])
        #expect(restored.list.first?.deadline == Moment(milliseconds: 3000 + 300_000), "700 - 400 s are left")
    }

    @Test func `a wall clock that was set back across a reboot lengthens no hold`() throws {
        var holds = Holds()
        _ = try holds.take("a", seconds: 600, at: present(100))
        let saved = holds.saved(bootID: "one", at: present(500))
        let (restored, _) = Holds.restored(from: saved, bootID: "two", now: present(3, wall: -90_000))
        #expect(restored.list.first?.deadline == Moment(milliseconds: 3000 + 200_000))
    }

    @Test func `a hold that ran out while the machine was off expires at once`() throws {
        var holds = Holds()
        _ = try holds.take("a", seconds: 600, at: present(100))
        let saved = holds.saved(bootID: "one", at: present(100))
        var (restored, _) = Holds.restored(from: saved, bootID: "two", now: present(3, wall: 90_000))
        #expect(restored.expire(at: Moment(milliseconds: 3000)) { _ in true }.map(\.cause) == [.expired])
    }
}

@Suite struct HoldRequestTests {
    private func problem(_ body: String) -> ProblemDetails? {
        do throws(ProblemDetails) {
            _ = try HoldRequest(parsing: Array(body.utf8))
            return nil
        } catch {
            return error
        }
    }

    @Test func `a time, a process, or both are asked for`() throws {
        let both = try HoldRequest(parsing: Array(#"{"seconds":60,"whileProcess":true,"reason":"r"}"#.utf8))
        #expect(both == HoldRequest(reason: "r", duration: .seconds(60), whileProcess: true))
        #expect(try HoldRequest(parsing: Array(#"{"seconds":60}"#.utf8)).reason.isEmpty)
    }

    @Test(arguments: [
        "", "[]", "{}", #"{"reason":"r"}"#, #"{"whileProcess":false}"#, #"{"seconds":0}"#, #"{"seconds":-1}"#,
        #"{"seconds":"60"}"#, #"{"seconds":1.5}"#, #"{"seconds":99999999999}"#, #"{"seconds":60,"until":1}"#,
        #"{"seconds":60,"reason":1}"#,
    ])
    func `anything else is refused with an example`(body: String) {
        let problem = problem(body)
        #expect(problem?.status == 400 && problem?.hint?.contains("whileProcess") == true)
    }

    @Test func `a reason is one line of plain text of a bounded length`() throws {
        let hostile = "a\u{1B}[31m\nb\u{202E}c\u{2028}d\t"
        #expect(HoldRequest(reason: hostile).reason == "a [31m bc d")
        let long = String(repeating: "ü", count: 101)
        #expect(problem("{\"seconds\":60,\"reason\":\"\(long)\"}")?.detail.contains("200 bytes") == true)
        #expect(problem("{\"seconds\":60,\"reason\":\"\(long.dropLast())\"}") == nil)
        #expect(PlainText.cleaned(long, limitBytes: 5) == "üü")
        #expect(PlainText.cleaned(" \n ") == "")
    }
}
