/// How a browser writes user name and password into the Authorization header (RFC 7617).
enum BasicCredentials {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

    /// A regular expression for the whole header with exactly this user's name, whatever the password.
    static func pattern(forUser user: String) -> String {
        let bytes = Array("\(user):".utf8)
        let bitCount = bytes.count * 8
        func bits(at index: Int) -> Int {
            let pair =
                Int(bytes[index / 8]) << 8 | (index / 8 + 1 < bytes.count ? Int(bytes[index / 8 + 1]) : 0)
            return pair >> (10 - index % 8) & 0x3F
        }
        let whole = (0..<bitCount / 6).map { alphabet[bits(at: $0 * 6)] }
        var pattern = "^(?i:basic) " + whole.map { $0 == "+" ? "[+]" : String($0) }.joined()
        let rest = bitCount % 6
        if rest > 0 {
            // The first bits of the next Base64 digit belong to the name, the others to the password.
            let first = bits(at: bitCount - rest)
            pattern += "[\(String(alphabet[first..<first + (64 >> rest)]))]"
        }
        return pattern + "[A-Za-z0-9+/=]*$"
    }
}
