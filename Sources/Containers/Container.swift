/// A container that a listener belongs to. Its texts come from whoever runs it and are not to be trusted; each has at
/// most `textLimitBytes` bytes.
package struct Container: Hashable, Sendable {
    /// What runs the container.
    package enum Runtime: String, Sendable { case docker, podman, containerd, nspawn, lxc, unknown }

    /// Bytes of a name or an id that are kept.
    package static let textLimitBytes = 128
    /// The creator of a container whose creator could not be found out: nobody, so that no policy trusts it.
    package static let unknownCreator: UInt32 = 0xffff_ffff

    /// What runs it.
    package var runtime: Runtime
    /// The runtime's full id; empty if unknown.
    package var id: String
    /// Its name as the runtime knows it; else the id's first 12 characters; else `ns<inode>` of its pid namespace or
    /// network namespace.
    package var name: String
    /// Who made its user namespace, as a user of the daemon's; 0 is this machine's root, also when it has no user
    /// namespace of its own.
    package var creatorUID: UInt32

    /// Creates a container from its parts.
    package init(runtime: Runtime, id: String, name: String, creatorUID: UInt32) {
        self.runtime = runtime
        self.id = id
        self.name = name
        self.creatorUID = creatorUID
    }
}
