"""What methods cost: the protocol of Table 5, and its measurements as a file."""
