import Glibc

/// Tells whether certificate files were replaced.
enum CertificateVersion {
    /// A word that changes with the files: their modification times, sizes and inodes; "missing" for what is not there.
    static func of(certificate: String, key: String) -> String {
        [certificate, key].map { path in
            var facts = stat()
            guard stat(path, &facts) == 0 else { return "missing" }
            return "\(facts.st_mtim.tv_sec).\(facts.st_mtim.tv_nsec)-\(facts.st_size)-\(facts.st_ino)"
        }.joined(separator: "_")
    }
}
