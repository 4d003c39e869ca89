"""What the Snakemake rules need: jobs, checks before them, and the server that runs them."""
