internal import CCurl
internal import CurlShims

/// The engine's thread: drives all transfers until the engine is closed. Nothing here leaves the thread.
final class EngineLoop {
    private let engine: TransferEngine
    private let multi: UnsafeMutableRawPointer
    private var transfers: [UInt64: ActiveTransfer] = [:]
    private let clock = SuspendingClock()

    /// Idle connections kept for the next request.
    private static let maxIdleConnections = 16
    /// Without transfers the thread sleeps until woken; libcurl wants some number.
    private static let longestWaitMilliseconds: Int32 = 3_600_000

    init(engine: TransferEngine, multi: UnsafeMutableRawPointer) {
        self.engine = engine
        self.multi = multi
    }

    func run() {
        samd_curl_multi_set_long(multi, CURLMOPT_MAXCONNECTS, Self.maxIdleConnections)
        while let commands = engine.takeCommands() {
            for command in commands { perform(command) }
            var running: Int32 = 0
            curl_multi_perform(multi, &running)
            collectFinished()
            let wait = expireOverdue()
            curl_multi_poll(multi, nil, 0, wait, nil)
        }
        for command in engine.retire() {
            if case .start(let transfer) = command { transfer.finish(.failure(closed(transfer))) }
        }
        for active in transfers.values { end(active, .failure(closed(active.transfer))) }
        curl_multi_cleanup(multi)
    }

    private func closed(_ transfer: Transfer) -> HTTPClientError {
        transfer.error(.unavailable, "the client was closed")
    }

    private func perform(_ command: TransferEngine.Command) {
        switch command {
        case .start(let transfer): start(transfer)
        case .cancel(let id):
            guard let active = transfers[id] else { return }
            end(active, .failure(active.transfer.error(.cancelled, "cancelled")))
        case .resumeReceiving(let id): transfers[id]?.resumeReceiving(now: clock.now)
        case .resumeSending(let id): transfers[id]?.resumeSending(now: clock.now)
        }
    }

    private func start(_ transfer: Transfer) {
        if transfer.isCancelled {
            return transfer.finish(.failure(transfer.error(.cancelled, "cancelled")))
        }
        guard transfers.count < HTTPClient.maxTransfers else {
            let detail = "\(transfers.count) transfers are under way"
            return transfer.finish(.failure(transfer.error(.unavailable, detail)))
        }
        guard let active = ActiveTransfer(transfer, now: clock.now) else {
            return transfer.finish(.failure(transfer.error(.unavailable, "libcurl gave no handle")))
        }
        let code = curl_multi_add_handle(multi, active.easy)
        guard code == CURLM_OK else {
            let detail = String(cString: curl_multi_strerror(code))
            return transfer.finish(.failure(transfer.error(.unavailable, detail)))
        }
        transfers[transfer.id] = active
        if let upload = transfer.upload, case .stream(_, let source) = transfer.request.body {
            let (engine, id) = (engine, transfer.id)
            upload.start(source) { engine.post(.resumeSending(id)) }
        }
    }

    private func collectFinished() {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE else { continue }
            let code = samd_curl_message_result(message)
            guard let easy = message.pointee.easy_handle, let active = transfers[ActiveTransfer.id(of: easy)]
            else { continue }
            end(active, active.result(of: code))
        }
    }

    private func end(_ active: ActiveTransfer, _ result: Result<Void, HTTPClientError>) {
        curl_multi_remove_handle(multi, active.easy)
        transfers[active.transfer.id] = nil
        active.transfer.finish(result)
    }

    /// Ends transfers past a deadline; returns how long the thread may sleep, in milliseconds.
    private func expireOverdue() -> Int32 {
        let now = clock.now
        var nearest: Duration?
        for active in transfers.values {
            guard let deadline = active.deadline else { continue }
            let left = now.duration(to: deadline.instant)
            if left <= .zero {
                end(active, .failure(active.transfer.error(.timeout, deadline.detail)))
            } else {
                nearest = min(nearest ?? left, left)
            }
        }
        guard let nearest else { return Self.longestWaitMilliseconds }
        // Rounded up: waking early would only spin.
        let milliseconds = nearest.milliseconds + 1
        return Int32(clamping: min(milliseconds, Int64(Self.longestWaitMilliseconds)))
    }
}

extension Duration {
    /// Whole milliseconds, rounded down.
    var milliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}
