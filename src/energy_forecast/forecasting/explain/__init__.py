"""Explanations: contributions of feature groups, and a report on one day of a forecast."""
