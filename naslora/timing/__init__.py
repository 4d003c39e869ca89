"""Time and memory of methods: the protocol of Table 5, and its measurements as a file."""
