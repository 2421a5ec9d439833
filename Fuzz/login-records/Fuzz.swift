// Feeds bytes to what reads about logins: utmp records, logind's texts, titles of sshd's processes. Beyond not trapping it must
// keep these promises:
//   - results stay within their bounds, and hold nothing that a terminal would obey;
//   - a record that was read, written the way glibc writes it, is read back as the same login.
//
// The first byte chooses what is read, the rest is its text; logind's texts are divided by zeros.

enum Promise {
    static func check(_ input: UnsafeRawBufferPointer) {
        guard let selector = input.first else { return }
        let text = Array(input.dropFirst())
        switch selector {
        case UInt8(ascii: "u"): records(text)
        case UInt8(ascii: "l"): session(text)
        case UInt8(ascii: "t"): title(text)
        default: line(text)
        }
    }

    private static func records(_ bytes: [UInt8]) {
        let logins = LoginRecords.parse(bytes)
        precondition(logins.count <= min(LoginRecords.loginLimit, bytes.count / LoginRecords.recordBytes))
        for login in logins {
            check(login)
            guard let pid = login.pid, let user = login.user, let tty = login.tty else {
                preconditionFailure()
            }
            precondition(pid > 0 && login.session == nil && login.uid == nil)
            var record = [UInt8](repeating: 0, count: LoginRecords.recordBytes)
            record[0] = 7
            for index in 0..<4 { record[4 + index] = UInt8(truncatingIfNeeded: pid >> (8 * index)) }
            let fields = [(8, 32, tty), (44, 32, user), (76, 256, login.remoteHost ?? "")]
            // Replacements of what was no UTF-8 take more room than that did.
            guard fields.allSatisfy({ $0.2.utf8.count <= $0.1 }) else { continue }
            for (start, _, text) in fields {
                record.replaceSubrange(start..<start + text.utf8.count, with: text.utf8)
            }
            precondition(LoginRecords.parse(record) == [login])
        }
    }

    private static func session(_ bytes: [UInt8]) {
        let texts = bytes.split(separator: 0, omittingEmptySubsequences: false).map {
            String(decoding: $0, as: UTF8.self)
        }
        func text(_ index: Int) -> String? { texts.indices.contains(index) ? texts[index] : nil }
        let login = Login(
            session: text(0) ?? "", uid: text(1).flatMap { UInt32($0) }, className: text(2), state: text(3),
            tty: text(4), remoteHost: text(5))
        if let login { check(login) }
    }

    private static func title(_ bytes: [UInt8]) {
        let title = String(decoding: bytes, as: UTF8.self)
        guard let session = SSHConnection.session(title: title) else { return }
        precondition(!session.user.isEmpty && !session.user.contains("[") && !session.user.contains(" "))
        precondition(session.isOpen || session.tty == nil)
        let again =
            session.isOpen ? "sshd: \(session.user)@\(session.tty ?? "notty")" : "sshd: \(session.user)"
        precondition(SSHConnection.session(title: again) == session)
    }

    private static func line(_ bytes: [UInt8]) {
        for limit in [0, 1, 2, 3, 4, 96, 1000] {
            let line = HostileText.line(bytes, limitBytes: limit)
            check(line, limitBytes: limit)
            precondition(HostileText.line(line, limitBytes: limit) == line)
        }
    }

    private static func check(_ login: Login) {
        precondition(!login.id.isEmpty && login.id.utf8.count <= 2 * Login.textLimitBytes)
        check(login.id, limitBytes: 2 * Login.textLimitBytes)
        for text in [login.session, login.user, login.tty, login.remoteHost] {
            if let text { check(text, limitBytes: Login.textLimitBytes) }
        }
    }

    private static func check(_ line: String, limitBytes: Int) {
        precondition(line.utf8.count <= limitBytes)
        precondition(line.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f...0x9f).contains($0.value) })
        precondition(
            line.unicodeScalars.allSatisfy { !(0x202a...0x202e).contains($0.value) && $0.value != 0x2028 })
    }
}

/// The entry point that libFuzzer calls.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafeRawPointer?, _ count: Int) -> CInt {
    Promise.check(UnsafeRawBufferPointer(start: start, count: count))
    return 0
}
