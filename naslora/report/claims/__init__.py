"""The paper's claims, each with the arithmetic of the paper's own numbers and our measurement."""
