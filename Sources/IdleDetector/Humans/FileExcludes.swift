import Glibc

/// Names of files and folders that say nothing about somebody's work: what tools write by themselves, and what can be made
/// again.
package struct FileExcludes: Sendable {
    /// What is left out where nothing else is set; an excluded folder with all that is in it.
    package static let standard: [String] = [
        // Version control: every `git status` of an editor writes there.
        ".git", ".hg", ".svn", ".jj",
        // Dependencies and caches.
        "node_modules", ".pnpm-store", ".yarn", "bower_components", ".cache", ".npm", ".bun", ".cargo",
        ".rustup", ".venv",
        "venv", ".virtualenv", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".tox", ".eggs",
        ".gradle",
        ".m2", ".ivy2", ".terraform", ".direnv", "*.pyc", "*.pyo",
        // Results of builds and test runs.
        "target", "build", ".build", "dist", "_build", ".next", ".nuxt", ".output", ".svelte-kit", ".turbo",
        ".parcel-cache", ".vite", ".angular", "coverage", ".nyc_output", "DerivedData", "zig-cache",
        ".zig-cache", "*.o", "*.class",
        // What programs note down: servers, databases, editors, desktops.
        "logs", "tmp", "*.log", "*.tmp", "*.temp", "*.pid", "*.lock", "*.swp", "*.swo", "*~", ".#*",
        "*.sqlite-wal",
        "*.sqlite-shm", "*.sqlite-journal", "*.db-wal", "*.db-shm", "*.db-journal", ".DS_Store",
        ".vscode-server",
        ".cursor-server", ".idea", ".local", ".config", ".claude", ".codex", ".claude.json*", ".bash_history",
        ".zsh_history",
        ".viminfo", ".lesshst", ".wget-hsts", ".nfs*",
    ]
    /// Patterns that are used; the rest is ignored.
    static let patternLimit = 256

    /// Hashes of whole names, sorted.
    private var names: [UInt64] = []
    /// What follows the star of `*.log`, and what is before that of `.nfs*`.
    private var endings: [[UInt8]] = []
    private var beginnings: [[UInt8]] = []
    /// Which bytes end an ending or begin a beginning: most names need no further look.
    private var isEnd = [Bool](repeating: false, count: 256)
    private var isBeginning = [Bool](repeating: false, count: 256)
    /// Everything else, for fnmatch(3), with its zero.
    private var patterns: [[CChar]] = []

    /// - Parameter patterns: names, or patterns as of glob(7); they are matched against single names, never against paths.
    package init(_ patterns: [String] = standard) {
        for pattern in patterns.prefix(Self.patternLimit) where !pattern.isEmpty {
            let bytes = Array(pattern.utf8)
            let isPlain = { (bytes: ArraySlice<UInt8>) in !bytes.contains { "*?[\\".utf8.contains($0) } }
            if isPlain(bytes[...]) {
                names.append(bytes.withUnsafeBytes { Mixing.hash($0) })
            } else if bytes.first == UInt8(ascii: "*"), bytes.count > 1, isPlain(bytes.dropFirst()) {
                endings.append(Array(bytes.dropFirst()))
                isEnd[Int(bytes[bytes.count - 1])] = true
            } else if bytes.last == UInt8(ascii: "*"), bytes.count > 1, isPlain(bytes.dropLast()) {
                beginnings.append(Array(bytes.dropLast()))
                isBeginning[Int(bytes[0])] = true
            } else {
                self.patterns.append(Array(pattern.utf8CString))
            }
        }
        names.sort()
    }

    /// - Parameters:
    ///   - name: without its zero, which must follow in memory.
    ///   - hash: `Mixing.hash` of it.
    func contains(_ name: UnsafeRawBufferPointer, hash: UInt64) -> Bool {
        var low = 0
        var high = names.count
        while low < high {
            let middle = (low + high) / 2
            if names[middle] < hash { low = middle + 1 } else { high = middle }
        }
        if low < names.count, names[low] == hash { return true }
        guard let start = name.baseAddress, let first = name.first, let last = name.last else { return false }
        if isEnd[Int(last)], endings.contains(where: { Self.isAlike($0, name.suffix($0.count)) }) {
            return true
        }
        if isBeginning[Int(first)], beginnings.contains(where: { Self.isAlike($0, name.prefix($0.count)) }) {
            return true
        }
        for pattern in patterns where fnmatch(pattern, start.assumingMemoryBound(to: CChar.self), 0) == 0 {
            return true
        }
        return false
    }

    private static func isAlike(_ bytes: [UInt8], _ part: Slice<UnsafeRawBufferPointer>) -> Bool {
        part.elementsEqual(bytes)
    }
}

/// Arithmetic that makes fingerprints of 64 bits. No secret goes in: whoever finds two equal ones hides changes of their own.
enum Mixing {
    /// FNV-1a.
    static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return hash
    }

    /// Joins a value into a hash; the order of joining matters.
    static func join(_ hash: UInt64, _ value: UInt64) -> UInt64 {
        var mixed = (hash ^ value) &* 0x9e37_79b9_7f4a_7c15
        mixed ^= mixed >> 32
        return mixed
    }
}
