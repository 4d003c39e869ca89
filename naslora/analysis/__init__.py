"""Analysis of image encoders: attention distance and frequencies of features (Table 4)."""
