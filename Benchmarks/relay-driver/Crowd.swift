import Glibc

/// Connections that are all open at the same time; each sends 64 bytes and gets them back.
struct Crowd {
    private let address: Address
    private let count: Int

    init(_ address: Address, count: Int) {
        self.address = address
        self.count = count
    }

    /// Prints `{"echoed": …, "milliseconds": […]}` when all have been answered, and waits for the end of its input
    /// before it closes them. The time of one is from before connect(2) to the whole echo, all begun at once.
    func run() {
        var message = [UInt8](repeating: UInt8(ascii: "e"), count: 64)
        var starts: [Double] = []
        var waiting: [pollfd] = []
        for number in 0..<count {
            starts.append(now())
            let socket = address.connect()
            message[1] = UInt8(truncatingIfNeeded: number)
            message[2] = UInt8(truncatingIfNeeded: number >> 8)
            guard send(socket, message, message.count, 0) == message.count else { fail("send") }
            waiting.append(pollfd(fd: socket, events: Int16(POLLIN), revents: 0))
        }
        var milliseconds: [Double] = []
        var echoed = 0
        while milliseconds.count < count {
            guard poll(&waiting, nfds_t(count), 10_000) > 0 else {
                fail("\(milliseconds.count) answers in 10 s")
            }
            for index in waiting.indices where waiting[index].revents != 0 {
                var answer = [UInt8](repeating: 0, count: 65)
                let received = recv(waiting[index].fd, &answer, 65, 0)
                milliseconds.append((now() - starts[index]) * 1000)
                if received == 64, Int(answer[1]) | Int(answer[2]) << 8 == index { echoed += 1 }
                waiting[index].events = 0
                waiting[index].fd = -waiting[index].fd
            }
        }
        say(#"{"echoed": \#(echoed), "milliseconds": \#(milliseconds)}"#)
        while readLine() != nil {}
    }
}
