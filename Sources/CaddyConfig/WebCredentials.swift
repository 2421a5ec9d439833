internal import CCrypt
internal import COpenSSL
internal import Glibc

/// The user name and password with which a person passes Caddy's basic authentication.
///
/// Holds a secret: its description shows the user only.
package struct WebCredentials: Sendable, Codable, Equatable, CustomStringConvertible {
    /// The user's name.
    package var user: String
    /// The password in clear, for `samd password`.
    package var password: String
    /// bcrypt of the password.
    package var passwordHash: String

    /// Creates credentials from what was stored.
    package init(user: String, password: String, passwordHash: String) {
        self.user = user
        self.password = password
        self.passwordHash = passwordHash
    }

    /// What Caddy needs of them.
    package var account: WebAccount { WebAccount(user: user, passwordHash: passwordHash) }

    /// The user, never the password.
    package var description: String { "WebCredentials(user: \(user))" }

    /// Why credentials could not be made.
    package struct GenerationError: Error, Sendable, CustomStringConvertible {
        /// What failed.
        package var description: String
    }

    /// 160 bits, so that nobody guesses and bcrypt may be cheap.
    private static let passwordBytes = 20
    /// bcrypt takes 128 bits of salt.
    private static let saltBytes = 16
    /// 2^4 rounds, the least there is. Caddy forgets its hash cache with every change; at the usual cost of 14 the
    /// next request would then take a second or two. A password of 160 random bits loses nothing by it.
    private static let cost: UInt = 4

    /// Makes a new password of 27 URL-safe characters (160 bits) and its hash.
    package static func generate(user: String) throws(GenerationError) -> WebCredentials {
        let password = urlSafeText(try randomBytes(count: passwordBytes))
        let salt = try randomBytes(count: saltBytes)
        guard
            let setting = crypt_gensalt_ra("$2b$", cost, salt.map { CChar(bitPattern: $0) }, Int32(saltBytes))
        else { throw GenerationError(description: "libcrypt makes no bcrypt salt: errno \(errno)") }
        defer { free(setting) }
        var state: UnsafeMutableRawPointer?
        var stateBytes: Int32 = 0
        defer {
            if let state { OPENSSL_cleanse(state, Int(stateBytes)) }
            free(state)
        }
        guard let hash = crypt_ra(password, setting, &state, &stateBytes) else {
            throw GenerationError(description: "libcrypt makes no bcrypt hash: errno \(errno)")
        }
        return WebCredentials(user: user, password: password, passwordHash: String(cString: hash))
    }

    private static func randomBytes(count: Int) throws(GenerationError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard RAND_bytes(&bytes, Int32(count)) == 1 else {
            throw GenerationError(description: "OpenSSL has no random bytes: error \(ERR_get_error())")
        }
        return bytes
    }

    /// base64url without padding (RFC 4648 §5).
    static func urlSafeText(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32(8 * (3 - group.count))
            for index in 0...group.count {
                text.append(alphabet[Int(bits >> UInt32(18 - 6 * index)) & 63])
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
