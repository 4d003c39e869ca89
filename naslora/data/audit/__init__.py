"""The audit of a data set: checks, duplicates, and the report on both."""
