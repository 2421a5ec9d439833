import Testing

@testable import IdleDetector

@Suite("Requests on published ports")
struct WebActivityTests {
    private func seen(
        user: Bool = true, _ method: String, isUserActivated: Bool = false, isUpgrade: Bool = false
    ) -> [Signal.Kind] {
        var activity = WebActivity()
        activity.add(
            port: "3000", user: user, method: method, isUserActivated: isUserActivated, isUpgrade: isUpgrade,
            bytes: 10,
            at: Moment(milliseconds: 5))
        return activity.signals(now: Moment(milliseconds: 6)).map(\.kind)
    }

    @Test("what changes something, or what the browser marks as a user's act, is a person's")
    func person() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "get", ""] { #expect(seen(method) == [.webPerson]) }
        #expect(seen("GET", isUserActivated: true) == [.webPerson])
    }

    @Test("other authenticated requests are a page's, websockets always")
    func background() {
        for method in ["GET", "HEAD", "OPTIONS"] { #expect(seen(method) == [.webBackground]) }
        #expect(seen("GET", isUpgrade: true) == [.webBackground])
        #expect(seen("GET", isUserActivated: true, isUpgrade: true) == [.webBackground])
        #expect(seen("CONNECT", isUpgrade: true) == [.webBackground])
    }

    @Test("what nobody authenticated leaves no trace")
    func strangers() {
        for method in ["GET", "POST", "OPTIONS"] {
            #expect(seen(user: false, method, isUserActivated: true).isEmpty)
            #expect(seen(user: false, method, isUpgrade: true).isEmpty)
        }
    }

    @Test("a port's requests are one signal of each kind, which tells the first and the latest")
    func accumulation() {
        var activity = WebActivity()
        for milliseconds in [100, 300, 200] as [Int64] {
            activity.add(
                port: "ui\n", user: true, method: "POST", isUserActivated: false, isUpgrade: false,
                bytes: .max,
                at: Moment(milliseconds: milliseconds))
        }
        activity.add(
            port: "ui\n", user: true, method: "GET", isUserActivated: false, isUpgrade: false, bytes: 7,
            at: Moment(milliseconds: 400))
        let signals = activity.signals(now: Moment(milliseconds: 500))
        #expect(signals.map(\.id) == ["web:ui?:sent", "web:ui?:background"])
        #expect(signals.map(\.since) == [Moment(milliseconds: 100), Moment(milliseconds: 400)])
        #expect(signals.map(\.changedAt) == [Moment(milliseconds: 300), Moment(milliseconds: 400)])
        #expect(signals.last?.detail == "1 requests, 7 bytes")
    }

    @Test("beyond the bound the quietest port makes room")
    func bound() {
        var activity = WebActivity()
        for port in 0...WebActivity.portLimit {
            activity.add(
                port: "\(port)", user: true, method: "POST", isUserActivated: false, isUpgrade: false,
                bytes: 0,
                at: Moment(milliseconds: Int64(port == 0 ? 10_000 : port)))
        }
        let ids = Set(activity.signals(now: Moment(milliseconds: 20_000)).map(\.id))
        #expect(ids.count == WebActivity.portLimit)
        #expect(
            ids.contains("web:0:sent") && ids.contains("web:256:sent") && !ids.contains("web:1:sent"))
    }

    @Test("what a page sends in a loop and what the browser calls a person's act are two signals")
    func apart() {
        var activity = WebActivity()
        for isUserActivated in [true, false] {
            activity.add(
                port: "3000", user: true, method: isUserActivated ? "GET" : "POST",
                isUserActivated: isUserActivated, isUpgrade: false, bytes: 0, at: Moment(milliseconds: 100))
        }
        let signals = activity.signals(now: Moment(milliseconds: 100))
        #expect(signals.map(\.id) == ["web:3000:person", "web:3000:sent"])
        #expect(signals.map(\.kind) == [.webPerson, .webPerson])
    }
}
