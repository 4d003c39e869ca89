"""Predictions of trained models, and what they score."""
