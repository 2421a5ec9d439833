import IdleDetector

/// Spans of time, asked in order of time whether one of them is there.
struct Presence {
    private let spans: [(from: Millis, to: Millis)]
    private var next = 0
    /// The latest end of those that began.
    private var latest: Millis = .min

    init(_ spans: [(from: Millis, to: Millis)]) { self.spans = spans.sorted { $0.from < $1.from } }

    /// When one was there last, up to `now`; nil: never yet.
    mutating func last(_ now: Millis) -> Millis? {
        while next < spans.count, spans[next].from <= now {
            latest = max(latest, spans[next].to)
            next += 1
        }
        return latest == .min ? nil : min(now, latest)
    }

    mutating func isThere(_ now: Millis) -> Bool { last(now) == now }
}

/// Instants, asked in order of time for the last one.
struct Instants {
    private let instants: [Millis]
    private var next = 0

    init(_ instants: [Millis]) { self.instants = instants.sorted() }

    mutating func last(_ now: Millis) -> Millis? {
        while next < instants.count, instants[next] <= now { next += 1 }
        return next == 0 ? nil : instants[next - 1]
    }
}

/// When a machine was really of use: a human was there, or work of worth went on.
struct Usefulness {
    private var work: Presence
    private var people: Instants
    let works: [Work]

    init(_ truth: Truth) {
        works = truth.works
        work = Presence(truth.works.map { ($0.from, $0.to) })
        people = Instants(
            truth.sources.filter { source in
                switch source.phases.first?.kind {
                case .terminal, .webPerson, .files: true
                default: false
                }
            }.flatMap { $0.happenings.filter(\.isReal).map(\.at) })
    }

    mutating func last(_ now: Millis) -> Millis { max(work.last(now) ?? 0, people.last(now) ?? 0) }

    mutating func lastHuman(_ now: Millis) -> Millis? { people.last(now) }

    /// What is cut off when the machine ends now.
    func inMidst(_ now: Millis) -> [Int] {
        works.indices.filter { works[$0].from < now && now < works[$0].to }
    }
}
