"""What the benchmarks of samd share: an isolated place to run in, and reports that know their bounds."""
