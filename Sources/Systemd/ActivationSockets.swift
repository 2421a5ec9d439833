import CSystemd
import Glibc

/// Sockets that the service manager opened for us (sd_listen_fds(3)).
package enum ActivationSockets {
    /// The inherited, listening unix stream socket, or nil when none was passed.
    ///
    /// Call once, before other threads start: it clears `LISTEN_FDS` so that children do not take the sockets for theirs.
    /// - Throws: `ActivationError` when sockets were passed but are not exactly one listening unix stream socket.
    package static func takeUnixStreamListener() throws(ActivationError) -> Int32? {
        let count = sd_listen_fds(1)
        if count < 0 {
            throw ActivationError(detail: "sd_listen_fds failed: \(String(cString: strerror(-count)))")
        }
        if count == 0 { return nil }
        guard count == 1 else {
            throw ActivationError(detail: "the service manager passed \(count) sockets, samd takes one")
        }
        let descriptor = SD_LISTEN_FDS_START
        guard sd_is_socket(descriptor, AF_UNIX, Int32(SOCK_STREAM.rawValue), 1) > 0 else {
            throw ActivationError(detail: "the socket that was passed is not a listening unix stream socket")
        }
        return descriptor
    }
}

/// What was inherited cannot serve the local API.
package struct ActivationError: Error, CustomStringConvertible {
    /// What is wrong with it.
    package let detail: String
    package var description: String {
        "socket activation: \(detail); samd.socket must hold exactly one ListenStream="
    }
}
