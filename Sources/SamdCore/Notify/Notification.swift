package import FoundationEssentials

/// What somebody is told. The raw values stand in configurations and notifications, and never change.
package enum NotificationKind: String, Codable, Sendable, CaseIterable {
    /// Claude asks its user something, and nothing else keeps the machine.
    case waiting
    /// The machine becomes idle soon.
    case warned
    /// The machine was rebooted while something worked.
    case interrupted
    /// Something is wrong that only people can judge or mend.
    case alarm
    /// Somebody tries out where notifications go; sent whatever is configured.
    case test

    /// What `notify.events` may hold.
    package static let selectable = allCases.filter { $0 != .test }
}

/// One message to people or to a program of theirs; docs/notifications.md describes its JSON form. Fields are added, never
/// renamed or removed.
package struct Notification: Codable, Sendable, Equatable {
    /// Of a title and of each of the facts, in bytes.
    package static let shortLimitBytes = 512
    /// Of the text, in bytes.
    package static let textLimitBytes = 8192
    /// Facts; those whose names come later in the alphabet are left out.
    package static let dataLimit = 32

    /// The same for every try to deliver it, and for every way: who gets it twice can tell.
    package var id: String
    package var kind: NotificationKind
    /// This machine's name in URLs.
    package var vm: String
    /// This machine's host name.
    package var host: String
    /// When it was made, RFC 3339.
    package var time: String
    /// One line.
    package var title: String
    /// Sentences; may have line breaks.
    package var text: String
    package var data: [String: String]
    /// When something happens unless somebody acts, RFC 3339.
    package var deadline: String?

    /// Cuts what is longer than the bounds.
    package init(
        id: String, kind: NotificationKind, vm: String, host: String, time: Date, title: String, text: String,
        data: [String: String] = [:], deadline: String? = nil
    ) {
        self.id = id
        self.kind = kind
        self.vm = vm
        self.host = host
        self.time = Timestamp.text(time)
        self.title = PlainText.cleaned(title, limitBytes: Self.shortLimitBytes)
        self.text = text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { PlainText.cleaned(String($0)) }.joined(separator: "\n").bounded(Self.textLimitBytes)
        self.data = Dictionary(
            data.sorted { $0.key < $1.key }.prefix(Self.dataLimit).map {
                ($0.bounded(Self.shortLimitBytes), PlainText.cleaned($1, limitBytes: Self.shortLimitBytes))
            }, uniquingKeysWith: { first, _ in first })
        self.deadline = deadline.map { PlainText.cleaned($0, limitBytes: Self.shortLimitBytes) }
    }

    /// The JSON form, as it is sent.
    package var json: [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(self)).map { Array($0) } ?? []
    }
}

extension String {
    /// The beginning, without cutting a character.
    fileprivate func bounded(_ limitBytes: Int) -> String {
        guard utf8.count > limitBytes else { return self }
        var result = String(decoding: utf8.prefix(limitBytes), as: UTF8.self)
        // A character that was cut became U+FFFD, which is longer.
        while result.utf8.count > limitBytes || result.last == "\u{FFFD}" { result.removeLast() }
        return result
    }
}
