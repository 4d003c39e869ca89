"""Whether this machine has everything that a study needs."""
