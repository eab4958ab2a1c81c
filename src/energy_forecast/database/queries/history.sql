-- name: phase
-- Minute past the UTC hour at which the city's hours begin, as known at a moment.
SELECT load_phase_as_of(%(city)s, %(as_of)s)

-- name: load
-- Hourly consumption, kWh, as known at a moment; whole hours that start in [first, end). One row: the bytes of each column.
SELECT string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(consumption_kwh), '')
FROM (SELECT * FROM hourly_load_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s, %(phase)s) ORDER BY timestamp) h

-- name: weather
-- Hourly observed weather as known at a moment, NaN where unknown. One row: the bytes of each column.
SELECT string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(coalesce(temperature, 'NaN')), ''),
       string_agg(float8send(coalesce(humidity, 'NaN')), ''),
       string_agg(float8send(coalesce(wind_speed, 'NaN')), ''),
       string_agg(float8send(coalesce(precipitation, 'NaN')), '')
FROM (SELECT * FROM hourly_weather_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s, %(phase)s) ORDER BY timestamp) h

-- name: weather_forecast
-- Hourly weather forecast, the latest that was issued by a moment, NaN where unknown. One row: the bytes of each column.
SELECT string_agg(timestamptz_send(timestamp), ''),
       string_agg(float8send(coalesce(temperature, 'NaN')), ''),
       string_agg(float8send(coalesce(humidity, 'NaN')), ''),
       string_agg(float8send(coalesce(wind_speed, 'NaN')), ''),
       string_agg(float8send(coalesce(precipitation, 'NaN')), '')
FROM (SELECT * FROM hourly_weather_forecast_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s, %(phase)s) ORDER BY timestamp) h
