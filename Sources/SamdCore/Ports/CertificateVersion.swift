/// Tells whether a certificate file was replaced.
enum CertificateVersion {
    /// Of a certificate chain; a real one has some kilobytes.
    private static let limitBytes = 1 << 20

    /// A word that changes with the file's content; "missing" for what cannot be read. The key is not looked at: a new one
    /// comes with a new certificate.
    static func of(_ path: String) -> String {
        guard let bytes = try? BoundedFile.read(path, limit: limitBytes) else { return "missing" }
        // FNV-1a: nothing is protected by it.
        let hash = bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return String(hash, radix: 16)
    }
}
