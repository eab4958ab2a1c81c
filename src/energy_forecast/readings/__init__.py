"""Readings: one function for each question about the stored data, the same for Python, the command line and HTTP."""
