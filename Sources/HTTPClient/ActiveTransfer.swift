internal import CCurl
internal import CurlShims
internal import Glibc

/// One easy handle with what its callbacks need. Confined to the engine's thread.
final class ActiveTransfer {
    let transfer: Transfer
    let easy: UnsafeMutableRawPointer
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private let errorText: UnsafeMutablePointer<CChar>
    private var headers = ResponseHeadParser()
    private var hasHead = false
    private var receivePaused = false
    private var sendPaused = false
    /// How much of an in-memory body libcurl has.
    private var sentBytes = 0
    private let started: SuspendingClock.Instant
    /// CLOCK_MONOTONIC: a suspended machine gives the other side no time either.
    private var lastMoved: SuspendingClock.Instant
    /// Why a callback stopped the transfer.
    private var abortReason: HTTPClientError?

    /// Nil when libcurl has no memory for a handle.
    init?(_ transfer: Transfer, now: SuspendingClock.Instant) {
        guard let easy = curl_easy_init() else { return nil }
        self.transfer = transfer
        self.easy = easy
        self.started = now
        self.lastMoved = now
        self.errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        self.errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        setOptions()
    }

    deinit {
        curl_easy_cleanup(easy)
        curl_slist_free_all(headerList)
        errorText.deallocate()
    }

    /// The id of the transfer that a handle belongs to.
    static func id(of easy: UnsafeMutableRawPointer) -> UInt64 {
        var pointer: UnsafeMutablePointer<CChar>?
        samd_curl_get_pointer(easy, CURLINFO_PRIVATE, &pointer)
        return UInt64(UInt(bitPattern: pointer))
    }

    // MARK: - Options

    private func setOptions() {
        let request = transfer.request
        samd_curl_set_pointer(easy, CURLOPT_PRIVATE, UnsafeMutableRawPointer(bitPattern: UInt(transfer.id)))
        samd_curl_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText)
        samd_curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        // Do not wait for a resolver thread when a transfer is cancelled (libcurl ≥ 7.87).
        samd_curl_set_long(easy, CURLOPT_QUICK_EXIT, 1)
        samd_curl_set_long(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
        samd_curl_set_long(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        samd_curl_set_long(easy, CURLOPT_BUFFERSIZE, 64 << 10)
        samd_curl_set_long(easy, CURLOPT_UPLOAD_BUFFERSIZE, 64 << 10)
        samd_curl_set_string(easy, CURLOPT_URL, request.url)
        let connectTimeout = max(1, request.options.connectTimeout.milliseconds)
        samd_curl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, Int(clamping: connectTimeout))
        if let path = request.unixSocketPath {
            samd_curl_set_string(easy, CURLOPT_UNIX_SOCKET_PATH, path)
        }
        if request.unixSocketPath != nil || !request.options.environmentProxy {
            samd_curl_set_string(easy, CURLOPT_PROXY, "")
        }
        if request.options.freshConnection {
            samd_curl_set_long(easy, CURLOPT_FRESH_CONNECT, 1)
        }
        setMethodAndBody(request)
        setHeaders(request)
        setCallbacks()
    }

    private func setMethodAndBody(_ request: HTTPRequest) {
        switch request.body {
        case .none where ["POST", "PUT", "PATCH"].contains(request.method): upload(byteCount: 0)
        case .none where request.method == "HEAD": samd_curl_set_long(easy, CURLOPT_NOBODY, 1)
        case .none: samd_curl_set_long(easy, CURLOPT_HTTPGET, 1)
        case .bytes(let bytes): upload(byteCount: Int64(bytes.count))
        case .stream(let length, _): upload(byteCount: length ?? -1)
        }
        if request.method != "HEAD" { samd_curl_set_string(easy, CURLOPT_CUSTOMREQUEST, request.method) }
    }

    private func upload(byteCount: Int64) {
        samd_curl_set_long(easy, CURLOPT_UPLOAD, 1)
        samd_curl_set_size(easy, CURLOPT_INFILESIZE_LARGE, Int(byteCount))
    }

    private func setHeaders(_ request: HTTPRequest) {
        // A server that never answers "100 Continue" would cost a second per request.
        appendHeader("Expect:")
        for (name, value) in request.headers {
            switch value {
            case nil: appendHeader("\(name):")
            case "": appendHeader("\(name);")
            case let value?: appendHeader("\(name): \(value)")
            }
        }
        samd_curl_set_list(easy, CURLOPT_HTTPHEADER, headerList)
    }

    private func appendHeader(_ line: String) {
        guard let list = curl_slist_append(headerList, line) else { return }
        headerList = list
    }

    private func setCallbacks() {
        // Unretained: the handle lives as long as this object and is used on this thread only.
        let me = Unmanaged.passUnretained(self).toOpaque()
        samd_curl_set_pointer(easy, CURLOPT_HEADERDATA, me)
        samd_curl_set_pointer(easy, CURLOPT_WRITEDATA, me)
        samd_curl_set_pointer(easy, CURLOPT_READDATA, me)
        samd_curl_set_pointer(easy, CURLOPT_SEEKDATA, me)
        samd_curl_set_data_function(easy, CURLOPT_HEADERFUNCTION) { buffer, size, count, user in
            ActiveTransfer.from(user).receiveHeader(
                UnsafeRawBufferPointer(start: buffer, count: size * count))
        }
        samd_curl_set_data_function(easy, CURLOPT_WRITEFUNCTION) { buffer, size, count, user in
            ActiveTransfer.from(user).receiveBody(UnsafeRawBufferPointer(start: buffer, count: size * count))
        }
        samd_curl_set_data_function(easy, CURLOPT_READFUNCTION) { buffer, size, count, user in
            let target = UnsafeMutableRawBufferPointer(start: buffer, count: size * count)
            return ActiveTransfer.from(user).sendBody(into: target)
        }
        samd_curl_set_seek_function(easy) { user, offset, origin in
            ActiveTransfer.from(user).seekBody(to: offset, origin: origin)
        }
    }

    private static func from(_ user: UnsafeMutableRawPointer?) -> ActiveTransfer {
        guard let user else { preconditionFailure("libcurl lost the user pointer") }
        return Unmanaged<ActiveTransfer>.fromOpaque(user).takeUnretainedValue()
    }

    // MARK: - Callbacks

    private func receiveHeader(_ line: UnsafeRawBufferPointer) -> Int {
        lastMoved = SuspendingClock().now
        if hasHead {
            if let field = headers.consumeTrailer(line) { transfer.receiveTrailer(field) }
            return line.count
        }
        switch headers.consume(line) {
        case .more: break
        case .head(let head):
            hasHead = true
            transfer.receive(head)
        case .tooLong:
            abortReason = transfer.error(
                .tooLarge, "the response's headers exceed \(ResponseHeadParser.maxBytes) bytes")
            return 0
        case .malformed:
            abortReason = transfer.error(.malformed, "the response's status line cannot be understood")
            return 0
        }
        return line.count
    }

    private func receiveBody(_ bytes: UnsafeRawBufferPointer) -> Int {
        if bytes.isEmpty || transfer.receive(bytes) {
            lastMoved = SuspendingClock().now
            return bytes.count
        }
        receivePaused = true
        return Int(CURL_WRITEFUNC_PAUSE)
    }

    private func sendBody(into target: UnsafeMutableRawBufferPointer) -> Int {
        lastMoved = SuspendingClock().now
        if case .bytes(let bytes) = transfer.request.body {
            let count = min(target.count, bytes.count - sentBytes)
            bytes.withUnsafeBytes {
                target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[sentBytes..<(sentBytes + count)]))
            }
            sentBytes += count
            return count
        }
        guard let upload = transfer.upload else { return 0 }
        switch upload.pull(into: target) {
        case .bytes(let count): return count
        case .end: return 0
        case .paused:
            sendPaused = true
            return Int(CURL_READFUNC_PAUSE)
        case .failed(let reason):
            abortReason = transfer.error(.bodySource, reason)
            return Int(CURL_READFUNC_ABORT)
        }
    }

    /// libcurl rewinds when a reused connection turns out to be dead.
    private func seekBody(to offset: curl_off_t, origin: Int32) -> Int32 {
        guard case .bytes(let bytes) = transfer.request.body, origin == SEEK_SET, offset >= 0,
            offset <= bytes.count
        else { return CURL_SEEKFUNC_CANTSEEK }
        sentBytes = Int(offset)
        return CURL_SEEKFUNC_OK
    }

    // MARK: - Driven by the loop

    func resumeReceiving(now: SuspendingClock.Instant) {
        guard receivePaused else { return }
        receivePaused = false
        unpause(now: now)
    }

    func resumeSending(now: SuspendingClock.Instant) {
        guard sendPaused else { return }
        sendPaused = false
        unpause(now: now)
    }

    private func unpause(now: SuspendingClock.Instant) {
        lastMoved = now
        // May call receiveBody, which may pause again.
        curl_easy_pause(
            easy, (receivePaused ? CURLPAUSE_RECV : 0) | (sendPaused ? CURLPAUSE_SEND : 0))
    }

    /// When the transfer has to be ended, and what to say then. While our own side is the slow one, idleness does
    /// not count.
    var deadline: (instant: SuspendingClock.Instant, detail: String)? {
        let options = transfer.request.options
        let total = options.totalTimeout.map {
            (instant: started.advanced(by: $0), detail: "not done within \($0)")
        }
        if receivePaused || sendPaused { return total }
        let idle = (
            instant: lastMoved.advanced(by: options.idleTimeout),
            detail: "no byte moved for \(options.idleTimeout)"
        )
        guard let total, total.instant < idle.instant else { return idle }
        return total
    }

    /// The outcome after libcurl said it is done.
    func result(of code: CURLcode) -> Result<Void, HTTPClientError> {
        if code == CURLE_OK { return .success(()) }
        if let abortReason { return .failure(abortReason) }
        var systemError = 0
        samd_curl_get_long(easy, CURLINFO_OS_ERRNO, &systemError)
        return .failure(
            HTTPClientError(
                operation: transfer.request.operation, code: code, detail: String(cString: errorText),
                errno: systemError, unixSocketPath: transfer.request.unixSocketPath))
    }
}
