"""Predictions of trained models, metrics, and controls."""
