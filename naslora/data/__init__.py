"""Benchmarks: archives, audit, splits, manifests, and the generator of rehearsal images."""
