"""Operate the database: partitions, retention, refresh, VACUUM, access, audit, backup and recovery.

Uses only `database` and `postgres`.
"""
