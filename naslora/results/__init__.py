"""Records of a study as data frames, and what is computed from them."""
