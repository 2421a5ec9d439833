import CaddyConfig
import Testing

@testable import SamdCore

@Suite struct MetricsTests {
    @Test func `the page is in Prometheus' form, with what labels may hold escaped`() {
        let page = MetricsPage.text([
            MetricFamily(
                "samd_x_total", .counter, "Things,\nby kind.",
                [.init(3, ["kind": "a\"b\\c\nd", "at": "1"]), .init(0.25)]),
            MetricFamily("samd_none", .gauge, "Nothing.", []),
        ])
        #expect(
            page == """
                # HELP samd_x_total Things,\\nby kind.
                # TYPE samd_x_total counter
                samd_x_total{at="1",kind="a\\"b\\\\c\\nd"} 3
                samd_x_total 0.25

                """)
    }

    @Test func `requests are counted for the port whose host they asked for`() {
        let traffic = PortTraffic()
        let route = Route(
            id: "p3000", hosts: ["3000--vm.localhost", "ui--vm.localhost"], upstream: "", upstreamHost: "")
        traffic.follow([route])
        traffic.add([
            AccessLogEntry(
                time: 5, host: "3000--vm.localhost", method: "GET", status: 200, user: "dev", bytesWritten: 10
            ),
            AccessLogEntry(time: 4, host: "ui--vm.localhost", method: "GET", status: 401, bytesRead: 3),
            AccessLogEntry(time: 6, host: "other", method: "GET", status: 404),
        ])
        let counters = traffic.snapshot()["3000"]
        #expect(counters?.requests == [2: 1, 4: 1] && counters?.authenticated == 1)
        #expect(counters?.sentBytes == 10 && counters?.receivedBytes == 3 && counters?.lastRequest == 5)
        #expect(traffic.elsewhere == 1)
    }
}
