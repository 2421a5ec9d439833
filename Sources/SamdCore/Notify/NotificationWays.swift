package import HTTPClient
import Systemd

/// A way by which notifications go out; the raw values appear in metrics and the API.
package enum NotificationWay: String, Sendable, CaseIterable {
    case webhook, command
}

/// What became of one try.
enum DeliveryOutcome: Sendable, Equatable {
    /// `HTTP 200`.
    case delivered(String)
    /// Without secrets. Final: another try would end the same way.
    case failed(reason: String, hint: String? = nil, isFinal: Bool = false)
    /// The daemon stops.
    case cancelled
}

/// Sends a request and returns the answer's status.
package typealias RequestSender = @Sendable (HTTPRequest) async throws(HTTPClientError) -> Int
/// Runs a command with something to read.
package typealias CommandStarter = @Sendable ([String], [UInt8]) async -> CommandRunner.End

/// One try to deliver, by either way.
struct NotificationDelivery: Sendable {
    /// For a webhook's whole answer.
    static let webhookLimit: Duration = .seconds(30)

    let settings: Configuration.Notify
    let send: RequestSender
    let run: CommandStarter

    /// The ways that are configured.
    var ways: [NotificationWay] {
        NotificationWay.allCases.filter { way in
            switch way {
            case .webhook: !settings.webhook.isEmpty
            case .command: !settings.command.isEmpty
            }
        }
    }

    /// Where a way leads, without secrets.
    func target(of way: NotificationWay) -> String {
        switch way {
        case .webhook: (try? address())?.shown ?? settings.webhook.prefixOfPath
        case .command: settings.command.first ?? ""
        }
    }

    func deliver(_ notification: Notification, by way: NotificationWay) async -> DeliveryOutcome {
        let outcome =
            switch way {
            case .webhook: await post(notification)
            case .command: Self.outcome(await run(settings.command, notification.json))
            }
        // Whatever a service that is being stopped saw, it is not the other side's fault.
        if Task.isCancelled, case .failed = outcome { return .cancelled }
        return outcome
    }

    private func address() throws(SecretFile.Failure) -> WebhookAddress {
        if settings.webhook.hasPrefix("/") { return try WebhookAddress.read(settings.webhook) }
        guard let address = WebhookAddress(settings.webhook) else {
            throw SecretFile.Failure(reason: "it is no usable URL", hint: "samd config check")
        }
        return address
    }

    private func post(_ notification: Notification) async -> DeliveryOutcome {
        let address: WebhookAddress
        do {
            address = try self.address()
        } catch {
            let place = target(of: .webhook)
            return .failed(reason: "\(place): \(error.reason)", hint: error.hint, isFinal: true)
        }
        var request = HTTPRequest(
            method: "POST", url: address.url,
            headers: [
                ("Content-Type", "application/json"), ("User-Agent", "samd/\(SamdVersion.current)"),
            ], body: .bytes(notification.json))
        request.options.totalTimeout = Self.webhookLimit
        // A reused connection may be dead, and libcurl would then send twice without telling.
        request.options.freshConnection = true
        do {
            return Self.outcome(status: try await send(request))
        } catch {
            let cause = address.withoutSecrets(error.cause, or: error.kind.rawValue)
            return .failed(
                reason: "\(address.shown): \(cause)", hint: error.hint, isFinal: error.kind == .invalidRequest
            )
        }
    }

    private static func outcome(status: Int) -> DeliveryOutcome {
        switch status {
        case 200...299: .delivered("HTTP \(status)")
        case 300...399:
            .failed(
                reason: "HTTP \(status): redirects are not followed",
                hint: "give the address that it leads to as notify.webhook", isFinal: true)
        case 408, 425, 429: .failed(reason: "HTTP \(status)")
        case 400...499:
            .failed(
                reason: "HTTP \(status)",
                hint: "the other side does not take it: is notify.webhook right, and does it take JSON?",
                isFinal: true)
        default: .failed(reason: "HTTP \(status)")
        }
    }

    private static func outcome(_ end: CommandRunner.End) -> DeliveryOutcome {
        switch end {
        case .ended(.exited(0)): .delivered("exit status 0")
        case .ended(.exited(let status)):
            .failed(
                reason: "exit status \(status)", hint: "what it complained about is in journalctl -u samd")
        case .ended(.killed(let signal)): .failed(reason: "it was ended by signal \(signal)")
        case .killed: .failed(reason: "it took too long and was killed")
        case .notStarted(let reason):
            .failed(
                reason: "it cannot be started: \(reason)",
                hint: "notify.command begins with the path of a program", isFinal: true)
        }
    }
}

extension String {
    /// A path as it is; of anything else nothing, because it may be a secret.
    fileprivate var prefixOfPath: String { hasPrefix("/") ? self : "notify.webhook" }
}
