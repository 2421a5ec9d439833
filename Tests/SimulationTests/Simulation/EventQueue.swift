/// What comes first in virtual time; equal times in the order of `rank`.
struct EventQueue {
    struct Event {
        var at: Millis
        var rank: Int
    }

    private var heap: [Event] = []

    var first: Event? { heap.first }

    private static func precedes(_ left: Event, _ right: Event) -> Bool {
        left.at < right.at || (left.at == right.at && left.rank < right.rank)
    }

    mutating func push(_ event: Event) {
        heap.append(event)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.precedes(heap[child], heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    mutating func pop() -> Event? {
        guard let top = heap.first else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return top }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if Self.precedes(heap[child], heap[least]) { least = child }
            }
            guard least != parent else { return top }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
