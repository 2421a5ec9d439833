import Glibc

/// Echoes; but a connection that begins with `D` or `U` and eight bytes (a count, big-endian) is sent that many
/// bytes, or has them read and answered with one.
struct Server {
    static let chunkBytes = 256 << 10

    func run() -> Never {
        let (listener, port) = Address("0").listen()
        say("\(port)")
        var waiting = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            _ = must("poll", poll(&waiting, nfds_t(waiting.count), -1))
            var kept = [waiting[0]]
            for entry in waiting.dropFirst() {
                if entry.revents == 0 || serve(entry.fd, &buffer) { kept.append(entry) }
            }
            if waiting[0].revents != 0 {
                let socket = must("accept", accept(listener, __SOCKADDR_ARG(__sockaddr__: nil), nil))
                kept.append(pollfd(fd: socket, events: Int16(POLLIN), revents: 0))
            }
            waiting = kept
        }
    }

    /// False when the connection is no longer to be watched.
    private func serve(_ socket: Int32, _ buffer: inout [UInt8]) -> Bool {
        guard recv(socket, &buffer, 1, Int32(MSG_PEEK)) > 0 else {
            close(socket)
            return false
        }
        guard buffer[0] == UInt8(ascii: "D") || buffer[0] == UInt8(ascii: "U") else {
            let count = recv(socket, &buffer, buffer.count, 0)
            return count > 0 && send(socket, buffer, count, 0) == count
        }
        guard recv(socket, &buffer, 9, Int32(MSG_WAITALL)) == 9 else { fail("a transfer without its count") }
        let bytes = buffer[1..<9].reduce(0) { $0 << 8 | Int($1) }
        if buffer[0] == UInt8(ascii: "D") {
            sendBytes(socket, bytes)
        } else {
            receiveBytes(socket, bytes)
            _ = send(socket, buffer, 1, 0)
        }
        close(socket)
        return false
    }
}

func sendBytes(_ socket: Int32, _ count: Int) {
    let memory = [UInt8](repeating: 0x5a, count: Server.chunkBytes)
    var left = count
    while left > 0 {
        let sent = send(socket, memory, min(left, memory.count), 0)
        if sent <= 0 { fail("send: \(String(cString: strerror(errno)))") }
        left -= sent
    }
}

func receiveBytes(_ socket: Int32, _ count: Int) {
    var memory = [UInt8](repeating: 0, count: Server.chunkBytes)
    var left = count
    while left > 0 {
        let received = recv(socket, &memory, memory.count, 0)
        if received <= 0 { fail("received \(count - left) of \(count) bytes") }
        left -= received
    }
}

/// Moves bytes in one connection and prints how many seconds that took, connecting excluded.
func transfer(_ address: Address, _ kind: String, bytes: Int) {
    let socket = address.connect()
    var head = [UInt8(ascii: kind == "down" ? "D" : "U")]
    for shift in stride(from: 56, through: 0, by: -8) {
        head.append(UInt8(truncatingIfNeeded: bytes >> shift))
    }
    let start = now()
    _ = must("send", Int32(send(socket, head, head.count, 0)))
    if kind == "down" {
        receiveBytes(socket, bytes)
    } else {
        sendBytes(socket, bytes)
        receiveBytes(socket, 1)
    }
    say("\(now() - start)")
}
