"""Conformal prediction: intervals from errors on held-out data."""
