/// What answers requests about holds, once it is clear that the peer may ask.
package struct HoldRoutes: Sendable {
    let keeper: HoldKeeper
    private let finder: HolderFinder

    package init(keeper: HoldKeeper, finder: HolderFinder) {
        self.keeper = keeper
        self.finder = finder
    }

    /// Takes the hold that a body describes for the process that asks.
    func take(_ body: [UInt8], peer: Peer?) async throws(ProblemDetails) -> HoldReport {
        let request = try HoldRequest(parsing: body)
        let peer = try known(peer)
        let process = peer.startTime.map { BoundProcess(pid: peer.pid, startTime: $0) }
        return try await keeper.take(request, by: finder.holder(of: peer), process: process)
    }

    func release(_ id: String, peer: Peer?, mayReleaseAny: Bool) async throws(ProblemDetails) -> HoldReport {
        let holder = finder.holder(of: try known(peer))
        return try await keeper.release(id, by: holder, mayReleaseAny: mayReleaseAny)
    }

    /// Rights were checked, so there is one; should that ever change, nothing is taken in nobody's name.
    private func known(_ peer: Peer?) throws(ProblemDetails) -> Peer {
        guard let peer else {
            throw ProblemDetails(
                "forbidden", status: 403, title: "Not allowed", detail: "who asks cannot be told",
                hint: "ask through the unix socket")
        }
        return peer
    }
}
