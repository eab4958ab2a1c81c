/* Old values are stored in bulk after the correcting statement, no longer row by row before it. The routines create the
   triggers again with another kind, which cannot be changed in place. */
DROP TRIGGER IF EXISTS energy_consumption_keep_revision ON energy_consumption;
DROP TRIGGER IF EXISTS weather_data_keep_revision ON weather_data;
