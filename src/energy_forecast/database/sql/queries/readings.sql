-- name: consumption
-- The load of a city (kWh) in the intervals that start in [first, end), as known at a time, in order of time.
SELECT c.timestamp, c.timestamp + make_interval(mins => c.interval_minutes) AS interval_end, c.consumption_kwh::float8,
       c.peak_demand_kw::float8, c.interval_minutes, c.available_at
FROM consumption_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s) c
ORDER BY c.timestamp
