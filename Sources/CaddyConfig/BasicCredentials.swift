/// How a browser writes user name and password into the Authorization header (RFC 7617).
enum BasicCredentials {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

    /// A regular expression for the beginning that the credentials of one user share: the Base64 digits that hold nothing
    /// but `user:`. A handful of similar names may share it too.
    static func pattern(forUser user: String) -> String {
        let bytes = Array("\(user):".utf8)
        let digits = (0..<bytes.count * 8 / 6).map { index -> Character in
            let bit = index * 6
            let pair =
                UInt16(bytes[bit / 8]) << 8 | (bit / 8 + 1 < bytes.count ? UInt16(bytes[bit / 8 + 1]) : 0)
            return alphabet[Int(pair >> (10 - UInt16(bit % 8)) & 0x3F)]
        }
        return digits.map { $0 == "+" ? "[+]" : String($0) }.joined()
    }
}
