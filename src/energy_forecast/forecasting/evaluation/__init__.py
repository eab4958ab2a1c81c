"""Metrics, coverage tests and significance tests of forecasts."""
