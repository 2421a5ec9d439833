/// Objects by a number that fits epoll's 64 bits. A number is never used again within 2³⁰ uses of its slot, so an
/// event of an object that is gone finds nothing instead of a stranger.
struct SlotTable<Element: AnyObject> {
    private var elements: [Element?] = []
    private var generations: [UInt32] = []
    private var free: [Int] = []

    /// How many objects there are.
    var count: Int { elements.count - free.count }

    /// Takes in what `make` builds for the new number.
    mutating func insert(_ make: (UInt64) -> Element) -> Element {
        let slot: Int
        if let reused = free.popLast() {
            slot = reused
            generations[slot] = (generations[slot] &+ 1) & 0x3fff_ffff
        } else {
            slot = elements.count
            elements.append(nil)
            generations.append(1)
        }
        let element = make(UInt64(generations[slot]) << 32 | UInt64(slot))
        elements[slot] = element
        return element
    }

    /// The object of a number; the two highest bits are not looked at.
    subscript(token: UInt64) -> Element? {
        let slot = Int(token & 0xffff_ffff)
        guard slot < elements.count, generations[slot] == UInt32(token >> 32 & 0x3fff_ffff) else {
            return nil
        }
        return elements[slot]
    }

    /// Forgets the object of a number.
    mutating func remove(_ token: UInt64) {
        guard self[token] != nil else { return }
        let slot = Int(token & 0xffff_ffff)
        elements[slot] = nil
        free.append(slot)
    }

    /// All objects.
    var all: [Element] { elements.compactMap { $0 } }
}
