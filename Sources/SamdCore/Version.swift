/// The version of samd, the same as in the file VERSION.
package enum SamdVersion {
    /// For example `"0.1.0"` (semantic versioning).
    package static let current = "0.1.0"
}
