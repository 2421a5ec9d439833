import CaddyConfig
import IdleDetector
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

    @Test func `idle detection tells its state, what holds, what is blind, and the sessions`() async {
        let machine = IdleFixture()
        await machine.see(
            claude(.claudeBusy, since: morning), claude(.claudeAsking, pid: 5, since: morning),
            probes: [ProbeReport(name: "files", lastLook: morning, failingSince: morning, reason: "x")])
        await machine.advance(.seconds(90))
        let page = MetricsPage.text(await machine.state.metrics().families)
        for line in [
            "samd_idle_state{state=\"active\"} 1", "samd_idle_state{state=\"idle\"} 0",
            "samd_idle_seconds_since_activity 0", "samd_idle_deadline_seconds 90000",
            "samd_idle_holding{kind=\"claude.busy\"} 1", "samd_idle_holding{kind=\"job\"} 0",
            "samd_idle_ignored{kind=\"claude.asking\"} 1", "samd_idle_alarms{kind=\"blind\"} 0",
            "samd_idle_probe_blind_seconds_total{probe=\"files\"} 90",
            "samd_claude_sessions{state=\"works\"} 1", "samd_claude_sessions{state=\"asks\"} 1",
            "samd_claude_sessions{state=\"prompt\"} 0",
        ] {
            #expect(page.split(separator: "\n").contains { $0 == line }, "\(line)")
        }
        let untouched = IdleFixture()
        #expect(await untouched.state.metrics().families.isEmpty, "before the first look nothing is known")
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
