/// Where the monitor gets the machine's processes from.
package protocol ProcessSource {
    /// All processes now. Blocks for some milliseconds.
    mutating func table(at now: Moment) throws(ProbeFailure) -> ProcessTable
    /// Whether a process was started since the last call, or the last table, that may be a Claude. Costs microseconds when
    /// nothing was started.
    mutating func hasNewClaude() -> Bool
    /// The Claude processes of a table: pid → id of their signal.
    mutating func claude(in table: ProcessTable) -> [Int32: String]
}
