"""What the paper printed: its tables and its counts of parameters, as data."""
