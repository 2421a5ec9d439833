import Testing

@testable import SamdCore

@Suite struct PeerAuthorizationTests {
    private let authorization = PeerAuthorization(
        isWorkspaceOwner: { $0 == 1000 }, isInGroup: { uid, _ in uid == 1001 })

    private func peer(_ uid: UInt32, isOnHost: Bool = true) -> Peer {
        Peer(pid: 1, uid: uid, gid: uid, isOnHost: isOnHost)
    }

    @Test(arguments: [0, 1000, 1001] as [UInt32])
    func `root, workspace owners and the group may change things`(uid: UInt32) {
        #expect(authorization.refusal(of: peer(uid), right: .change) == nil)
    }

    @Test func `others may only read`() {
        #expect(authorization.refusal(of: peer(1002), right: .read) == nil)
        let problem = authorization.refusal(of: peer(1002), right: .change)
        #expect(problem?.status == 403 && problem?.detail.contains("uid 1002 is neither root") == true)
    }

    @Test func `a container's root is not the host's`() {
        #expect(authorization.refusal(of: peer(0, isOnHost: false), right: .change)?.status == 403)
    }

    @Test(arguments: [0, 1000, 1001] as [UInt32])
    func `they may keep the machine also from inside a container`(uid: UInt32) {
        #expect(authorization.refusal(of: peer(uid, isOnHost: false), right: .hold) == nil)
        #expect(authorization.refusal(of: peer(uid), right: .hold) == nil)
    }

    @Test(arguments: [true, false])
    func `other users may not keep the machine`(isOnHost: Bool) {
        #expect(authorization.refusal(of: peer(1002, isOnHost: isOnHost), right: .hold)?.status == 403)
        #expect(authorization.refusal(of: nil, right: .hold)?.status == 403)
    }

    @Test func `nobody knows who asks, so nothing is changed`() {
        #expect(authorization.refusal(of: nil, right: .change)?.status == 403)
    }
}
