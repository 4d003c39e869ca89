"""Benchmarks and user-supplied images: archives, audit, splits, manifests, data sets."""
