import IdleDetector

/// Lists that settings of idle detection begin with.
package enum IdleDefaults {
    /// Folders in which a workspace usually is.
    package static let folders = ["/workspace", "/workspaces"]
    /// Names of files and folders whose changes say nothing about a person.
    package static let filesExclude = FileExcludes.standard
}
