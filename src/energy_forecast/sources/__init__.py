"""External data, read as frames. No database."""
