"""Functions for the Snakemake rules: inputs, targets, resources, checks and batches."""
