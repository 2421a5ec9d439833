internal import COpenSSL
internal import Glibc

/// Why a certificate and its key cannot be used together.
package struct CertificateError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What is wrong, without a word of the key.
    package var description: String
}

extension CertificatePair {
    /// Makes sure that Caddy will take the pair: both are PEM, and the key is the certificate's. A configuration with one that it
    /// does not take it refuses as a whole.
    package func check() throws(CertificateError) {
        guard let certificate = Self.reading(certificate, { PEM_read_bio_X509($0, nil, nil, nil) }) else {
            throw CertificateError(description: "the certificate is not in PEM form")
        }
        defer { X509_free(certificate) }
        guard let key = Self.reading(key, { PEM_read_bio_PrivateKey($0, nil, refusePassphrase, nil) }) else {
            throw CertificateError(description: "the key is not in PEM form, or needs a passphrase")
        }
        defer { EVP_PKEY_free(key) }
        guard X509_check_private_key(certificate, key) == 1 else {
            throw CertificateError(description: "the key does not belong to the certificate")
        }
    }

    private static func reading<Value>(_ text: String, _ body: (OpaquePointer) -> Value?) -> Value? {
        defer { ERR_clear_error() }
        var text = text
        return text.withUTF8 { bytes in
            guard let memory = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else {
                return nil
            }
            defer { BIO_free(memory) }
            return body(memory)
        }
    }
}

/// Else OpenSSL would ask on the terminal (pem_password_cb(3)).
private func refusePassphrase(
    _ buffer: UnsafeMutablePointer<CChar>?, _ size: Int32, _ isForWriting: Int32,
    _ user: UnsafeMutableRawPointer?
) -> Int32 { -1 }
