/// What the port watcher did and sees, for metrics.
package struct PortWatchStatistics: Sendable, Equatable {
    /// Network namespaces that the last scan read.
    package var namespaces = 0
    /// Sockets that listen in them.
    package var sockets = 0
    /// Scans since the start.
    package var scans: UInt64 = 0
    /// How long the last scan took.
    package var lastScan: Duration = .zero

    /// Nothing done yet.
    package init() {}
}
