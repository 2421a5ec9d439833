// relay-bench: the parts that Benchmarks/relay.py plays against each other, each in a process of its own.
//
//   serve                        a server on 127.0.0.1, in whatever network namespace it is started; prints its port
//   relay FOLDER ENTRANCE PORT   a relay to that server; prints its socket, then statistics for each line of input
//   transfer ADDRESS KIND BYTES  moves bytes in one connection (KIND: down or up); prints the seconds
//   connections ADDRESS COUNT    that many at once, all stay open while each sends and gets back; prints JSON
//
// ADDRESS is the path of a unix socket or a port of 127.0.0.1.

import Glibc

@main
enum RelayBench {
    static func main() async {
        var arguments = CommandLine.arguments.dropFirst()
        func next() -> String {
            guard let argument = arguments.popFirst() else { fail("too few arguments") }
            return argument
        }
        func number() -> Int {
            let text = next()
            guard let number = Int(text) else { fail("\(text) is no number") }
            return number
        }
        signal(SIGPIPE, SIG_IGN)
        switch next() {
        case "serve": Server().run()
        case "relay":
            await RelayProcess(folder: next(), entrance: next(), port: UInt16(clamping: number())).run()
        case "transfer": transfer(Address(next()), next(), bytes: number())
        case "connections": Crowd(Address(next()), count: number()).run()
        case let other: fail("unknown command \(other)")
        }
    }
}

func fail(_ message: String) -> Never {
    let line = Array("relay-bench: \(message)\n".utf8)
    write(STDERR_FILENO, line, line.count)
    exit(1)
}

/// The result of a call, or the end of the process.
func must(_ what: String, _ result: Int32) -> Int32 {
    if result < 0 { fail("\(what): \(String(cString: strerror(errno)))") }
    return result
}

/// Prints a line that the other side of a pipe sees at once.
func say(_ line: String) {
    print(line)
    fflush(nil)
}

/// Seconds of CLOCK_MONOTONIC.
func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
