import CaddyConfig

/// The certificate that the configuration names.
enum CertificateFiles {
    /// Of each file; a real one has some kilobytes.
    private static let limitBytes = 1 << 20

    /// Reads and checks both files; nil where none is configured.
    /// - Throws: `SetupError` with the file that cannot be read or used.
    static func load(_ configuration: Configuration) throws(SetupError) -> CertificatePair? {
        guard configuration.caddy.tls == .files else { return nil }
        let pair = CertificatePair(
            certificate: try text(configuration.caddy.certificate, key: "caddy.certificate"),
            key: try text(configuration.caddy.key, key: "caddy.key"))
        do throws(CertificateError) {
            try pair.check()
        } catch {
            throw SetupError(cause: error, hint: "mend caddy.certificate or caddy.key")
        }
        return pair
    }

    private static func text(_ path: String, key: String) throws(SetupError) -> String {
        do throws(FileError) {
            return String(decoding: try BoundedFile.read(path, limit: limitBytes), as: UTF8.self)
        } catch {
            throw SetupError(cause: error, hint: "put a PEM file there, or correct \(key)")
        }
    }
}
