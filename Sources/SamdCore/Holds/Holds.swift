package import FoundationEssentials
package import IdleDetector

/// The present on both clocks: CLOCK_MONOTONIC decides within a boot, the wall clock only across boots.
package struct Present: Sendable, Equatable {
    package var moment: Moment
    package var wall: Date

    package init(moment: Moment, wall: Date) {
        self.moment = moment
        self.wall = wall
    }

    /// The kernel's.
    package static func now() -> Present { Present(moment: .now(), wall: .now) }

    /// The wall clock's time at an instant, if nobody sets it.
    package func wall(at moment: Moment) -> Date {
        let milliseconds = (moment - self.moment).wholeMilliseconds
        return wall.addingTimeInterval(Double(milliseconds) / 1000)
    }
}

/// All holds; a value, kept by `HoldKeeper`, saved in `holds.json`.
package struct Holds: Sendable, Equatable {
    /// At a time, of all users.
    package static let limit = 64
    /// At a time, of one user at one place, so that nobody takes all.
    package static let limitPerUser = 16

    /// In the order in which they were taken.
    package private(set) var list: [Hold] = []

    package init() {}

    package subscript(id: String) -> Hold? { list.first { $0.id == id } }

    /// Takes a hold.
    ///
    /// - Parameters:
    ///   - process: who asks, with its start time; nil where that cannot be told.
    ///   - id: one that no hold has.
    ///   - cap: a hold ends so long after it was taken at the latest.
    package mutating func take(
        _ request: HoldRequest, by holder: Holder, process: BoundProcess?, id: String, now: Present,
        cap: Duration
    ) throws(ProblemDetails) -> Hold {
        if let duration = request.duration, duration > cap { throw HoldProblems.tooLong(duration, cap: cap) }
        if request.whileProcess, process == nil { throw HoldProblems.noProcess(holder) }
        guard list.count < Self.limit else { throw HoldProblems.tooMany }
        guard list.count(where: { $0.by.sharesLimit(with: holder) }) < Self.limitPerUser else {
            throw HoldProblems.tooMany(of: holder)
        }
        let hold = Hold(
            id: id, reason: request.reason, by: holder, takenAt: Timestamp.text(now.wall), since: now.moment,
            deadline: now.moment + (request.duration ?? cap), process: request.whileProcess ? process : nil)
        list.append(hold)
        return hold
    }

    /// Gives a hold back.
    ///
    /// - Parameter mayReleaseAny: whether who asks decides about this machine; others end only what is their own.
    package mutating func release(
        _ id: String, by holder: Holder, mayReleaseAny: Bool
    ) throws(ProblemDetails) -> Hold {
        guard let index = list.firstIndex(where: { $0.id == id }) else { throw HoldProblems.unknown(id) }
        guard mayReleaseAny || list[index].by.isSameUser(as: holder) else {
            throw HoldProblems.notTheirs(list[index], holder)
        }
        return list.remove(at: index)
    }

    /// Removes what is over, and tells what that was.
    package mutating func expire(at now: Moment, isRunning: (BoundProcess) -> Bool) -> [EndedHold] {
        var ended: [EndedHold] = []
        list.removeAll { hold in
            if hold.deadline <= now {
                ended.append(EndedHold(hold: hold, cause: .expired))
                return true
            }
            guard let process = hold.process, !isRunning(process) else { return false }
            ended.append(EndedHold(hold: hold, cause: .processEnded))
            return true
        }
        return ended
    }

    /// What idle detection is told.
    package func signals(now: Moment) -> [Signal] {
        list.filter { now < $0.deadline }.map { hold in
            Signal(
                id: "hold:\(hold.id)", kind: .hold, subject: "of \(hold.by.name)",
                detail: hold.reason.isEmpty ? nil : hold.reason, pid: hold.process?.pid, user: hold.by.user,
                container: hold.by.container, since: hold.since, until: hold.deadline)
        }
    }
}

// MARK: On disk

/// What `holds.json` holds. Moments mean something within their boot only, so each end is there on both clocks.
package struct SavedHolds: Codable, Sendable, Equatable {
    package struct Entry: Codable, Sendable, Equatable {
        package var hold: Hold
        /// The wall clock's time at `hold.deadline`, seconds since 1970.
        package var until: Double
    }

    package var bootID: String
    package var savedAt: Moment
    package var entries: [Entry]
}

extension Holds {
    package func saved(bootID: String, at now: Present) -> SavedHolds {
        SavedHolds(
            bootID: bootID, savedAt: now.moment,
            entries: list.map {
                SavedHolds.Entry(hold: $0, until: now.wall(at: $0.deadline).timeIntervalSince1970)
            })
    }

    /// Reads back what was saved, and tells what ended at once because the machine was rebooted. What expired otherwise is
    /// found by the next `expire`.
    ///
    /// Across a reboot the wall clock says what is left; if it was set back, it is no more than was left at the last save.
    package static func restored(
        from saved: SavedHolds, bootID: String, now: Present
    ) -> (holds: Holds, ended: [EndedHold]) {
        var holds = Holds()
        var ended: [EndedHold] = []
        for entry in saved.entries.prefix(limit) {
            var hold = entry.hold
            if saved.bootID != bootID {
                if hold.process != nil {
                    ended.append(EndedHold(hold: hold, cause: .processEnded))
                    continue
                }
                let left = (entry.until - now.wall.timeIntervalSince1970) * 1000
                let most = max(0, (hold.deadline - saved.savedAt).wholeMilliseconds)
                hold.since = now.moment
                hold.deadline = now.moment + .milliseconds(Int64(min(max(0, left), Double(most))))
            }
            holds.list.append(hold)
        }
        return (holds, ended)
    }
}
