/* Old values are kept in bulk after the statement that corrected them, and no longer row by row before it. The triggers are made anew
   as routines, of another kind, which no trigger can become. */
DROP TRIGGER IF EXISTS energy_consumption_keep_revision ON energy_consumption;
DROP TRIGGER IF EXISTS weather_data_keep_revision ON weather_data;
