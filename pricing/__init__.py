"""Price parity: comparable prices, references with evidence, verdicts, cases. It never ranks and never sells."""
