/// Finds what somebody probably meant to write.
enum EditDistance {
    /// The candidate with the least Levenshtein distance to `word`, if at most `limit` edits away.
    static func closest(to word: String, among candidates: [String], within limit: Int) -> String? {
        let ranked = candidates.map { ($0, distance(word, $0)) }.min { $0.1 < $1.1 }
        guard let (candidate, edits) = ranked, edits <= limit else { return nil }
        return candidate
    }

    private static func distance(_ first: String, _ second: String) -> Int {
        let second = Array(second.utf8)
        var row = Array(0...second.count)
        for (i, a) in first.utf8.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in second.enumerated() {
                let substitution = diagonal + (a == b ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substitution, row[j] + 1, row[j + 1] + 1)
            }
        }
        return row[second.count]
    }
}
