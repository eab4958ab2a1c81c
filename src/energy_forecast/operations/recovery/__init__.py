"""Point-in-time recovery: archived WAL, base backups, restore points, verified restores, and drills."""
