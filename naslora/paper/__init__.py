"""The paper's tables and counts of parameters, as data."""
