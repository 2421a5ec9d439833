package import CaddyConfig
package import NamespaceRelay
package import PortWatcher
package import Supervision

/// Everything that `GET /metrics` tells, gathered from the services' own counters. Pure.
package struct DaemonMetrics: Sendable {
    package var ports: PortList
    package var services: [ServiceReport]
    package var watch: PortWatchStatistics
    package var traffic: [String: PortTraffic.Counters]
    package var trafficElsewhere: UInt64
    package var accessLog: AccessLogStatistics
    package var relays: [String: RelayStatistics]
    package var relayTotal: RelayStatistics
    package var events: [String: UInt64]
    /// Nil where idle detection is turned off.
    package var idle: IdleMetrics?

    package var notifications: [Notifier.Count: UInt64]

    package var families: [MetricFamily] {
        general + portFamilies + trafficFamilies + relayFamilies + notifyFamilies
            + (idle?.families ?? [])
    }

    private var general: [MetricFamily] {
        [
            MetricFamily(
                "samd_build_info", .gauge, "The running version; always 1.",
                [.init(1, ["version": SamdVersion.current])]),
            MetricFamily(
                "samd_service_healthy", .gauge, "1 while a service of the daemon can do its job.",
                services.map { .init($0.health.isDegraded ? 0 : 1, ["service": $0.name]) }),
            MetricFamily(
                "samd_service_progress_age_seconds", .gauge, "Time since a service last made progress.",
                services.map { .init($0.sinceProgress.inSeconds, ["service": $0.name]) }),
            MetricFamily(
                "samd_events_total", .counter, "Events recorded, by type.",
                events.sorted { $0.key < $1.key }.map { .init(Double($0.value), ["type": $0.key]) }),
        ]
    }

    private var portFamilies: [MetricFamily] {
        let states = Dictionary(grouping: ports.ports, by: \.state).mapValues(\.count)
        let names = ["published", "pending", "covered", "refused"]
        return [
            MetricFamily(
                "samd_ports", .gauge, "Listening ports, by what became of them.",
                names.map { .init(Double(states[$0] ?? 0), ["state": $0]) }),
            MetricFamily(
                "samd_ports_public", .gauge, "Published ports that ask for no password.",
                [.init(Double(ports.ports.count { $0.auth == PortAccess.public.rawValue }))]),
            MetricFamily(
                "samd_network_namespaces", .gauge, "Network namespaces that are watched.",
                [.init(Double(watch.namespaces))]),
            MetricFamily(
                "samd_port_scans_total", .counter, "Looks at the tables of sockets.",
                [.init(Double(watch.scans))]),
            MetricFamily(
                "samd_port_scan_seconds", .gauge, "How long the last look took.",
                [.init(watch.lastScan.inSeconds)]),
        ]
    }

    private var trafficFamilies: [MetricFamily] {
        let byName = traffic.sorted { $0.key < $1.key }
        let requests = byName.flatMap { name, counters in
            counters.requests.sorted { $0.key < $1.key }.map { hundreds, count in
                MetricFamily.Sample(Double(count), ["port": name, "status": "\(hundreds)xx"])
            }
        }
        return [
            MetricFamily(
                "samd_port_requests_total", .counter, "Requests to published ports, by status.", requests),
            MetricFamily(
                "samd_port_authenticated_requests_total", .counter,
                "Requests that came with the web password.",
                byName.map { .init(Double($1.authenticated), ["port": $0]) }),
            MetricFamily(
                "samd_port_sent_bytes_total", .counter, "Bytes of answers' bodies.",
                byName.map { .init(Double($1.sentBytes), ["port": $0]) }),
            MetricFamily(
                "samd_port_received_bytes_total", .counter, "Bytes of requests' bodies.",
                byName.map { .init(Double($1.receivedBytes), ["port": $0]) }),
            MetricFamily(
                "samd_port_last_request_timestamp_seconds", .gauge, "When the last request ended.",
                byName.map { .init($1.lastRequest, ["port": $0]) }),
            MetricFamily(
                "samd_unpublished_requests_total", .counter,
                "Requests for names that nothing is published under.",
                [.init(Double(trafficElsewhere))]),
            MetricFamily(
                "samd_access_log_lines_total", .counter,
                "Lines of Caddy's access log, by what became of them.",
                [
                    .init(Double(accessLog.lines), ["result": "counted"]),
                    .init(Double(accessLog.malformed), ["result": "malformed"]),
                    .init(Double(accessLog.dropped), ["result": "dropped"]),
                ]),
        ]
    }

    private var notifyFamilies: [MetricFamily] {
        let counts = notifications.map {
            (way: $0.key.way.rawValue, result: $0.key.result.rawValue, count: $0.value)
        }
        return [
            MetricFamily(
                "samd_notifications_total", .counter, "Notifications, by way and what became of them.",
                counts.sorted { ($0.way, $0.result) < ($1.way, $1.result) }.map {
                    .init(Double($0.count), ["way": $0.way, "result": $0.result])
                })
        ]
    }

    private var relayFamilies: [MetricFamily] {
        let all = relays.values
        return [
            MetricFamily(
                "samd_relays", .gauge, "Ports that are reached from inside their network namespace.",
                [.init(Double(all.count))]),
            MetricFamily(
                "samd_relay_connections", .gauge, "Open connections through relays.",
                [.init(Double(all.reduce(0) { $0 + $1.openConnections }))]),
            MetricFamily(
                "samd_relay_connections_total", .counter, "Connections that relays took.",
                [.init(Double(relayTotal.connections))]),
            MetricFamily(
                "samd_relay_bytes_total", .counter, "Bytes through relays.",
                [
                    .init(Double(relayTotal.bytesIn), ["direction": "in"]),
                    .init(Double(relayTotal.bytesOut), ["direction": "out"]),
                ]),
        ]
    }
}

extension Duration {
    /// With fractions.
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
