"""What a study shows: tables, figures, claims and a page, from its records."""
