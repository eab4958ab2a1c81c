"""Work that runs by itself: schedules, the worker, and alarms."""
