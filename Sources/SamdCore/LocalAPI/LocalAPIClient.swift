import FoundationEssentials
import HTTPClient

/// The command line's side of the local API.
package struct LocalAPIClient: Sendable {
    /// Why an answer is missing.
    package enum Failure: Error, CustomStringConvertible {
        /// Nobody answers on the socket.
        case unreachable(socket: String, detail: String)
        /// The daemon answered with a problem.
        case problem(ProblemDetails)
        /// The answer is not what this version understands.
        case unintelligible(detail: String)

        package var description: String {
            switch self {
            case .unreachable(let socket, let detail):
                "samd does not answer on \(socket) (\(detail)); see `systemctl status samd`, or name another socket with --socket"
            case .problem(let problem):
                "\(problem.title): \(problem.detail)\(problem.hint.map { "; \($0)" } ?? "")"
            case .unintelligible(let detail):
                "samd gave an answer that this version of the command does not understand (\(detail)); are both of one version?"
            }
        }
    }

    private let http: HTTPClient
    private let socket: String
    private let patience: Duration?

    /// - Parameter patience: the longest that a request takes; nil: as long as something moves.
    package init(socket: String, patience: Duration? = nil) {
        self.socket = socket
        self.patience = patience
        http = HTTPClient()
    }

    /// Fetches a resource, as JSON text and decoded.
    package func get<Value: Decodable>(_ path: String, as type: Value.Type) async throws(Failure) -> (
        value: Value, json: String
    ) {
        try decode(try await answer(to: request(path)), path, as: type)
    }

    private func decode<Value: Decodable>(
        _ response: HTTPResponse, _ path: String, as type: Value.Type
    ) throws(Failure) -> (value: Value, json: String) {
        let data = Data(response.body)
        guard (200...299).contains(response.head.status) else {
            throw failure(status: response.head.status, data)
        }
        do {
            return (try JSONDecoder().decode(type, from: data), String(decoding: data, as: UTF8.self))
        } catch {
            throw .unintelligible(detail: "\(path): \(error)")
        }
    }

    /// Sends a change and decodes the answer; not sent again when the connection breaks.
    package func send<Value: Decodable>(
        _ method: String, _ path: String, _ body: (some Encodable)? = nil as PortChange?, as type: Value.Type
    ) async throws(Failure) -> (value: Value, json: String) {
        var request = request(path)
        request.method = method
        if let body, let bytes = try? JSONEncoder().encode(body) {
            request.body = .bytes(Array(bytes))
            request.headers.append((name: "Content-Type", value: "application/json"))
        }
        let response: HTTPResponse
        do {
            response = try await http.send(request)
        } catch {
            throw .unreachable(socket: socket, detail: error.cause)
        }
        return try decode(response, path, as: type)
    }

    /// Follows the events after an id (nil: only new ones), calling `body` with each, until the daemon ends the stream.
    package func events(
        after id: UInt64?, _ body: (_ event: DaemonEvent, _ json: String) throws -> Void
    ) async throws {
        var request = request("/v1/events\(id.map { "?since=\($0)" } ?? "")")
        // The daemon sends a sign of life every 15 s.
        request.options.idleTimeout = EventStream.keepAlive * 3
        let response: HTTPStreamingResponse
        do {
            response = try await http.stream(request)
        } catch {
            throw Failure.unreachable(socket: socket, detail: error.cause)
        }
        guard response.head.status == 200 else {
            var bytes: [UInt8] = []
            for try await chunk in response.body where bytes.count < 1 << 16 { bytes += chunk }
            throw failure(status: response.head.status, Data(bytes))
        }
        var lines = LineBuffer()
        for try await chunk in response.body {
            for line in lines.append(chunk) where line.hasPrefix("data: ") {
                let json = String(line.dropFirst(6))
                guard let event = try? JSONDecoder().decode(DaemonEvent.self, from: Data(json.utf8)) else {
                    continue
                }
                try body(event, json)
            }
        }
    }

    /// Reads the recording of idle detection, calling `body` with pieces of it as they come.
    ///
    /// - Parameter follow: whether it goes on with what happens, until the daemon ends or the task is cancelled.
    package func recording(follow: Bool, _ body: @Sendable ([UInt8]) throws -> Void) async throws {
        var request = request("/v1/idle/recording?follow=\(follow)")
        // The daemon sends a sign of life every 15 s.
        request.options.idleTimeout = IdleRecordingStream.keepAlive * 3
        let response: HTTPStreamingResponse
        do {
            response = try await http.stream(request)
        } catch {
            throw Failure.unreachable(socket: socket, detail: error.cause)
        }
        guard response.head.status == 200 else {
            var bytes: [UInt8] = []
            for try await chunk in response.body where bytes.count < 1 << 16 { bytes += chunk }
            throw failure(status: response.head.status, Data(bytes))
        }
        for try await chunk in response.body { try body(chunk) }
    }

    /// Long enough for a restart, which breaks what is under way.
    private static let pauseBeforeRepetition: Duration = .milliseconds(500)

    /// Sends a request, and once more when the connection broke: reading twice does no harm. Not more often, because each
    /// try starts a daemon that refuses its configuration.
    private func answer(to request: HTTPRequest) async throws(Failure) -> HTTPResponse {
        do {
            return try await http.send(request)
        } catch {
            guard error.kind == .connectionLost else {
                throw .unreachable(socket: socket, detail: error.cause)
            }
        }
        try? await Task.sleep(for: Self.pauseBeforeRepetition, clock: .suspending)
        do {
            return try await http.send(request)
        } catch {
            throw .unreachable(socket: socket, detail: error.cause)
        }
    }

    private func request(_ path: String) -> HTTPRequest {
        var request = HTTPRequest(method: "GET", url: "http://localhost\(path)", unixSocketPath: socket)
        request.options.totalTimeout = patience
        return request
    }

    private func failure(status: Int, _ data: Data) -> Failure {
        guard let problem = try? JSONDecoder().decode(ProblemDetails.self, from: data) else {
            return .unintelligible(detail: "HTTP \(status)")
        }
        return .problem(problem)
    }
}

/// Cuts a byte stream into lines; a line longer than `limitBytes` is dropped.
struct LineBuffer {
    static let limitBytes = 1 << 20
    private var pending: [UInt8] = []

    mutating func append(_ bytes: [UInt8]) -> [String] {
        pending += bytes
        var lines: [String] = []
        while let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
            lines.append(String(decoding: pending[..<end], as: UTF8.self))
            pending.removeSubrange(...end)
        }
        if pending.count > Self.limitBytes { pending.removeAll() }
        return lines
    }
}
