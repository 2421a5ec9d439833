/// Columns of text for a terminal, two spaces apart; the last column is not padded.
struct Table {
    private var rows: [[String]]

    init(header: [String]) { rows = [header] }

    /// Cells may hold other processes' text, so control characters go.
    mutating func append(_ row: [String]) { rows.append(row.map(Terminal.harmless)) }

    var text: String {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            row.enumerated().map { index, cell in
                index == row.count - 1
                    ? cell : cell + String(repeating: " ", count: widths[index] - cell.count + 2)
            }.joined()
        }.joined(separator: "\n")
    }
}
