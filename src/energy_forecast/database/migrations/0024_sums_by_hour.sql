/* Values as they were known go to the program as they are, and it sums them by the hour: summing took half of what the
   server spent on reading a city. See docs/decisions/models.md. */
DROP FUNCTION IF EXISTS hourly_load_as_of(uuid, timestamptz, timestamptz, timestamptz, integer);
DROP FUNCTION IF EXISTS hourly_weather_as_of(uuid, timestamptz, timestamptz, timestamptz, integer);
DROP FUNCTION IF EXISTS hourly_weather_forecast_as_of(uuid, timestamptz, timestamptz, timestamptz, integer);
