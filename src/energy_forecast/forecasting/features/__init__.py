"""Features of a target hour that are known at the origin: calendar, earlier load, weather."""
