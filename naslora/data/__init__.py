"""Benchmarks and images of one's own: archives, audit, splits, manifests, data sets."""
