"""Input data: history on an hourly grid, resampling, faults, missing weather."""
