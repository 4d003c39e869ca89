"""Tables, figures, claims and a report page of a study, from its records."""
