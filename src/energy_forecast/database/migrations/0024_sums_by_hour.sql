/* Point-in-time values are returned unchanged, and the program sums them by hour: summing took half of the server's time
   for reading a city. See docs/decisions/models.md. */
DROP FUNCTION IF EXISTS hourly_load_as_of(uuid, timestamptz, timestamptz, timestamptz, integer);
DROP FUNCTION IF EXISTS hourly_weather_as_of(uuid, timestamptz, timestamptz, timestamptz, integer);
DROP FUNCTION IF EXISTS hourly_weather_forecast_as_of(uuid, timestamptz, timestamptz, timestamptz, integer);
