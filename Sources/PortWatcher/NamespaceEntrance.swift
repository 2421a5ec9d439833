/// How a network namespace other than the daemon's own can be entered.
package enum NamespaceEntrance: Hashable, Sendable {
    /// Through `/proc/<pid>/ns/net` of a process that lives in it; the start time tells it from a later one of the
    /// same number.
    case process(pid: Int32, startTime: UInt64)
    /// Through a mount of the namespace itself, as `ip netns add` makes it.
    case mount(path: String)
}
