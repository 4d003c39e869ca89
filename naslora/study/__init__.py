"""A study: its settings, the paths of its files, its records and their provenance."""
