"""The benchmarks: their contract, their splits, and one module per data set."""
