"""Looking after the database: partitions, retention, refresh, VACUUM; who may see what; backup and recovery.

Uses only the database and the server.
"""
