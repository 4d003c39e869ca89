"""A study: its settings, the places of its files, its records and their provenance."""
