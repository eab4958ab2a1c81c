-- name: phase
-- The minute past the UTC hour at which the city's hours begin, as known at a time.
SELECT load_phase_as_of(%(city)s, %(as_of)s)

-- name: load
-- Consumption of the intervals that start in [first, end), as known at a time, kWh and minutes. One row: the bytes of
-- each column.
SELECT string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(consumption_kwh::float8), ''),
       string_agg(int2send(interval_minutes), '')
FROM consumption_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s)

-- name: availability
-- Delay of the intervals that start in [first, end), as known at a time: values, values available at the end of their
-- interval, median delay after that end in minutes.
SELECT count(*), count(*) FILTER (WHERE delay = 0), percentile_cont(0.5) WITHIN GROUP (ORDER BY delay)
FROM (SELECT extract(epoch FROM available_at - timestamp) / 60 - interval_minutes AS delay
      FROM consumption_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s)) delays

-- name: weather
-- Observed weather as known at a time, NaN if unknown. One row: the bytes of each column.
SELECT string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(coalesce(temperature::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(humidity::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(wind_speed::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(precipitation::float8, 'NaN')), '')
FROM weather_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s)

-- name: weather_forecast
-- The latest weather forecast issued by a time, NaN if unknown. One row: the bytes of each column.
SELECT string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(coalesce(temperature::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(humidity::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(wind_speed::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(precipitation::float8, 'NaN')), '')
FROM weather_forecast_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s)

-- name: load_recorded
-- As load, limited to values that this database had recorded by a second time.
SELECT string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(consumption_kwh::float8), ''),
       string_agg(int2send(interval_minutes), '')
FROM consumption_recorded(%(city)s, %(as_of)s, %(recorded_by)s, %(first)s, %(end)s)

-- name: weather_recorded
-- As weather, limited to values that this database had recorded by a second time.
SELECT string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(coalesce(temperature::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(humidity::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(wind_speed::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(precipitation::float8, 'NaN')), '')
FROM weather_recorded(%(city)s, %(as_of)s, %(recorded_by)s, %(first)s, %(end)s)

-- name: thinned_weather_forecasts
-- The thinning that may have removed the weather forecasts of a city for the hours in [first, end): range, hours of lead
-- time kept, time of the removal. No row if the city has no weather forecasts for them at all.
SELECT d.range_start, d.range_end, d.kept_lead_hours, d.dropped_at
FROM ops.dropped_data d
WHERE d.table_name = 'weather_forecasts' AND d.kept_lead_hours IS NOT NULL AND d.row_count > 0
  AND d.range_start < %(end)s AND d.range_end > %(first)s
  AND EXISTS (SELECT FROM weather_forecast_as_of(
      %(city)s, d.range_end, greatest(d.range_start, %(first)s::timestamptz), least(d.range_end, %(end)s::timestamptz)))
ORDER BY d.kept_lead_hours, d.range_start
LIMIT 1

-- name: weather_forecast_recorded
-- As weather_forecast, limited to values that this database had recorded by a second time.
SELECT string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(coalesce(temperature::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(humidity::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(wind_speed::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(precipitation::float8, 'NaN')), '')
FROM weather_forecast_recorded(%(city)s, %(as_of)s, %(recorded_by)s, %(first)s, %(end)s)

-- name: weather_vintages
-- The first weather forecast of each UTC day issued from a time to a time, for the hours until the latter, NaN if unknown.
-- One row: the bytes of each column, by issue and hour.
SELECT string_agg(timestamptz_send(issued_at), ''),
       string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(coalesce(temperature::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(humidity::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(wind_speed::float8, 'NaN')), ''),
       string_agg(float8send(coalesce(precipitation::float8, 'NaN')), '')
FROM weather_vintages_as_of(%(city)s, %(as_of)s, %(first)s)
