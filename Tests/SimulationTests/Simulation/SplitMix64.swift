import Glibc

/// The simulation's own randomness: the same seed gives the same run on every machine.
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// 0 ..< 1.
    package mutating func unit() -> Double { Double(next() >> 11) / 9_007_199_254_740_992 }

    package mutating func chance(_ probability: Double) -> Bool { unit() < probability }

    /// Evenly from `least` to `most`.
    package mutating func between(_ least: Millis, _ most: Millis) -> Millis {
        least + Millis(unit() * Double(most - least))
    }

    /// From `least` to `most`, short ones as likely as long ones.
    package mutating func spread(_ least: Millis, _ most: Millis) -> Millis {
        Millis(Double(least) * exp(unit() * log(Double(most) / Double(least))))
    }

    package mutating func share(_ least: Double, _ most: Double) -> Double { least + unit() * (most - least) }

    package mutating func pick<Element>(_ choices: [Element]) -> Element {
        choices[Int(next() % UInt64(choices.count))]
    }

    package mutating func pick<Element>(weighted choices: [(weight: Double, choice: Element)]) -> Element {
        var left = unit() * choices.reduce(0) { $0 + $1.weight }
        for (weight, choice) in choices {
            left -= weight
            if left < 0 { return choice }
        }
        return choices[choices.count - 1].choice
    }
}
