/// A terminal's device number, as the kernel counts (console(4), pts(4), Documentation/admin-guide/devices.txt).
package struct TerminalDevice: Hashable, Sendable, CustomStringConvertible {
    package var major: UInt32
    package var minor: UInt32

    package init(major: UInt32, minor: UInt32) {
        self.major = major
        self.minor = minor
    }

    /// Takes `tty_nr` of proc_pid_stat(5) apart: the minor number is in bits 0 to 7 and 20 to 31, the major number between
    /// (the kernel's new_encode_dev). Nil for 0, which is no terminal.
    package init?(statField: Int32) {
        guard statField != 0 else { return nil }
        let bits = UInt32(bitPattern: statField)
        self.init(major: bits >> 8 & 0xfff, minor: bits & 0xff | bits >> 12 & 0xfff00)
    }

    /// Takes `st_rdev` of stat(2) apart, as gnu_dev_major(3) does.
    package init(deviceNumber: UInt64) {
        self.init(
            major: UInt32(truncatingIfNeeded: deviceNumber >> 8 & 0xfff | deviceNumber >> 32 & 0xffff_f000),
            minor: UInt32(truncatingIfNeeded: deviceNumber & 0xff | deviceNumber >> 12 & 0xffff_ff00))
    }

    /// Whether a program made it, by opening /dev/ptmx: its inode came into being with it.
    package var isPseudo: Bool { (136...143).contains(major) }

    /// As below /dev: `pts/3`, `tty1`, `ttyS0`; else `tty(204:64)`.
    package var description: String {
        switch major {
        case 136...143: "pts/\((major - 136) << 20 | minor)"
        case 4 where minor < 64: "tty\(minor)"
        case 4: "ttyS\(minor - 64)"
        case 5 where minor == 1: "console"
        case 188: "ttyUSB\(minor)"
        case 204 where minor >= 64: "ttyAMA\(minor - 64)"
        case 229: "hvc\(minor)"
        default: "tty(\(major):\(minor))"
        }
    }
}
