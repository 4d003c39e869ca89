"""Generators of archives, one for each benchmark: its look, in the layout of its official files."""
