/// What one walk of a tree remembers for the next: a fingerprint for each folder, in 16 bytes.
struct FolderPrints {
    struct Folder {
        /// Hash of the path below the root.
        var key: UInt64
        var print: UInt64
    }

    enum Outcome { case same, changed, new }

    /// Sorted by key.
    private(set) var folders: [Folder] = []
    private var isSeen: [Bool] = []
    private var fresh: [Folder] = []

    /// Begins a walk.
    mutating func begin() {
        isSeen = Array(repeating: false, count: folders.count)
        fresh = []
    }

    /// Remembers a folder's fingerprint, and compares it with that of the last walk.
    mutating func record(key: UInt64, print: UInt64) -> Outcome {
        var low = 0
        var high = folders.count
        while low < high {
            let middle = (low + high) / 2
            if folders[middle].key < key { low = middle + 1 } else { high = middle }
        }
        guard low < folders.count, folders[low].key == key else {
            fresh.append(Folder(key: key, print: print))
            return .new
        }
        isSeen[low] = true
        if folders[low].print == print { return .same }
        folders[low].print = print
        return .changed
    }

    /// Ends a walk.
    ///
    /// - Parameter isWhole: whether it saw every folder, so that what it did not see is gone.
    mutating func finish(isWhole: Bool, limit: Int) {
        let staysAsItIs = fresh.isEmpty && (!isWhole || isSeen.allSatisfy { $0 })
        if !staysAsItIs {
            var kept: [Folder] = []
            let keepsUnseen = !isWhole && folders.count + fresh.count <= limit
            let seenCount = isSeen.reduce(0) { $0 + ($1 ? 1 : 0) }
            kept.reserveCapacity((keepsUnseen ? folders.count : seenCount) + fresh.count)
            for (index, folder) in folders.enumerated() where isSeen[index] || keepsUnseen {
                kept.append(folder)
            }
            kept.append(contentsOf: fresh)
            kept.sort { $0.key < $1.key }
            folders = kept
        }
        isSeen = []
        fresh = []
    }
}
