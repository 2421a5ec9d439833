internal import CLinux
package import ProcFS

package struct SocketDiagnostics: Sendable {
    package init() {}
    package func endConnections(to address: IPAddress, port: UInt16, heldBy pid: Int32)
        throws(SocketDiagnosticsError) -> Int
    { 0 }
}
