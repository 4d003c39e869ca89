"""The report of a study: one HTML file that holds all it shows, and opens without a network."""
