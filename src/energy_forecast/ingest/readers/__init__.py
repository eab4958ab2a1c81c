"""Readers of CSV and Parquet files and of frames in memory."""
