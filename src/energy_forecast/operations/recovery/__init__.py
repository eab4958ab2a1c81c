"""Recovery to a moment: archived WAL, base backups, restore points, restores that compare, and drills."""
