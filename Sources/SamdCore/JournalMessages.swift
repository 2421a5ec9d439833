/// What happened, as the event stream, the journal and the catalog name it.
///
/// The raw value is the `type` of an event in `GET /v1/events`; `messageID` is the journal's MESSAGE_ID, under which
/// systemd/samd.catalog explains the entry. Neither ever changes its meaning.
package enum EventKind: String, Sendable, Codable, CaseIterable {
    case daemonReady = "daemon.ready"
    case daemonStopping = "daemon.stopping"
    case configurationReloaded = "configuration.reloaded"
    case configurationRefused = "configuration.refused"
    case portPublished = "port.published"
    case portWithdrawn = "port.withdrawn"
    case portRefused = "port.refused"
    case portAccessChanged = "port.access-changed"
    case overrideDropped = "port.override-dropped"
    case connectionsEnded = "port.connections-ended"
    case connectionsNotEnded = "port.connections-not-ended"
    case passwordRenewed = "password.renewed"
    case caddyReachable = "caddy.reachable"
    case caddyUnreachable = "caddy.unreachable"
    case caddyRefused = "caddy.refused"
    case caddyRepaired = "caddy.repaired"
    case wakeUpSource = "ports.wake-up"
    case serviceDegraded = "service.degraded"
    case serviceRecovered = "service.recovered"
    case serviceStalled = "service.stalled"
    case stateDiscarded = "state.discarded"

    /// The journal's MESSAGE_ID, 32 hexadecimal digits.
    package var messageID: String {
        switch self {
        case .daemonReady: "df6eaef422054a33be32e9acbae46b37"
        case .daemonStopping: "897cc64e611e44188729d95010575fb0"
        case .configurationReloaded: "45bb5e22bb8f402a8f3245d8f45cfd39"
        case .configurationRefused: "2af95f941c6e47bb9ff343be8c0c45dc"
        case .portPublished: "9cebf148b1fa458b82feb8d921e1cb30"
        case .portWithdrawn: "2bac8d6443d44b17a5031c93509fa261"
        case .portRefused: "b582b9a0803442398b291fc0a34bd9a4"
        case .portAccessChanged: "cff67c4647a94ee0a17cc695a3cd271f"
        case .overrideDropped: "5df13a493ce249a78e6f75288cead1ac"
        case .connectionsEnded: "6239f7cc54c646f995f8900bfe84ff69"
        case .connectionsNotEnded: "58a64fcd0d064cf0a4f480cfbadbe906"
        case .passwordRenewed: "73d6e9543dc0445487eb095bac739b22"
        case .caddyReachable: "8054fe0c32b74f078f94bed6258282f5"
        case .caddyUnreachable: "63ae9dcf7a7b459da816e7ec10423e1e"
        case .caddyRefused: "73cec63090804435ad9b519c3473ed6d"
        case .caddyRepaired: "ef06c1975a6e42859bd1dc18b2bd7c1a"
        case .wakeUpSource: "4e41b97d1d404d4b9d48ea029f2be314"
        case .serviceDegraded: "8384db7ee6514d50ba374d845987e414"
        case .serviceRecovered: "df1f8a14f315476e8fe9dff8d9092d1e"
        case .serviceStalled: "31bc0e1d68a94531b4b55dd36cd106dd"
        case .stateDiscarded: "b36118e96fe646109c5b220109245c4c"
        }
    }
}
