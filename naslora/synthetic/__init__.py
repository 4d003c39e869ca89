"""Generated images: one module per look."""
