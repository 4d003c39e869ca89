"""The figures of a study: from records, analyses and timings, and some from trained weights."""
