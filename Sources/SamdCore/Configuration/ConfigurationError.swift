/// One thing that is wrong with a configuration.
package struct ConfigurationProblem: Error, Sendable, Equatable {
    /// The line in the file, from 1, where known.
    package var line: Int?
    /// The dotted key, for example `ports.min`, where the problem has one.
    package var key: String?
    /// What is wrong.
    package var problem: String
    /// What to write instead.
    package var accepted: String
}

/// A configuration that cannot be used: every problem that was found, each with its place and what to write instead.
package struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file, as it was named.
    package var file: String
    /// At least one problem, in the order of the file.
    package var problems: [ConfigurationProblem]

    /// `file:line: key: problem; write …`, one line per problem, as compilers do.
    package var description: String {
        problems.map { problem in
            let place = problem.line.map { "\(file):\($0)" } ?? file
            let key = problem.key.map { "\($0): " } ?? ""
            return "\(place): \(key)\(problem.problem); write \(problem.accepted)"
        }.joined(separator: "\n")
    }
}
