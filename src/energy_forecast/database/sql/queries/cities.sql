-- name: all_cities
-- Every city, by name.
SELECT id, name, latitude::float8, longitude::float8, timezone, country_code, subdivision, metadata, load_delay
FROM cities
ORDER BY name

-- name: some_cities
-- The cities with these names, compared without regard to case and Unicode normalisation.
SELECT id, name, latitude::float8, longitude::float8, timezone, country_code, subdivision, metadata, load_delay
FROM cities
WHERE lower(normalize(name, NFC)) IN (SELECT lower(normalize(requested, NFC)) FROM unnest(%(names)s::text[]) AS requested)
ORDER BY name

-- name: add_city
-- Add a city; no row if the name is in use.
INSERT INTO cities (name, latitude, longitude, timezone, country_code, subdivision)
VALUES (%(name)s, %(latitude)s, %(longitude)s, %(timezone)s, %(country_code)s, %(subdivision)s)
ON CONFLICT DO NOTHING
RETURNING id

-- name: set_metadata
-- Replace one key of a city's metadata.
UPDATE cities SET metadata = metadata || jsonb_build_object(%(key)s::text, %(value)s::jsonb) WHERE id = %(city)s

-- name: city_counts
-- The stored data of each city: counts, first and last interval (UTC), number of corrections.
SELECT c.name,
       f.rows AS consumption_rows, f.first AS consumption_first, f.last AS consumption_last,
       f.interval_minutes,
       w.rows AS weather_rows, w.first AS weather_first, w.last AS weather_last,
       r.rows AS corrections,
       v.rows AS weather_forecast_rows
FROM cities c
CROSS JOIN LATERAL (
    SELECT count(*) AS rows, min(timestamp) AS first, max(timestamp) AS last,
           mode() WITHIN GROUP (ORDER BY interval_minutes) AS interval_minutes
    FROM energy_consumption WHERE city_id = c.id) f
CROSS JOIN LATERAL (
    SELECT count(*) AS rows, min(timestamp) AS first, max(timestamp) AS last
    FROM weather_data WHERE city_id = c.id) w
CROSS JOIN LATERAL (SELECT count(*) AS rows FROM energy_consumption_revisions WHERE city_id = c.id) r
CROSS JOIN LATERAL (SELECT count(*) AS rows FROM weather_forecasts WHERE city_id = c.id) v
WHERE c.name = ANY (%(names)s)
ORDER BY c.name

-- name: update_city
-- Correct a city (degrees north and east).
UPDATE cities
SET latitude = %(latitude)s, longitude = %(longitude)s, timezone = %(timezone)s, country_code = %(country_code)s,
    subdivision = %(subdivision)s
WHERE name = %(name)s

-- name: dependent_counts
-- The numbers of values (load and weather), models and scores of a city.
SELECT (SELECT count(*) FROM energy_consumption WHERE city_id = c.id) + (SELECT count(*) FROM weather_data WHERE city_id = c.id),
       (SELECT count(*) FROM model_artifacts WHERE city_id = c.id),
       (SELECT count(*) FROM forecast_scores WHERE city_id = c.id)
FROM cities c WHERE c.name = %(name)s

-- name: stored_city
-- The stored city with a name (degrees north and east, exactly as stored).
SELECT name, latitude, longitude, timezone, country_code, subdivision FROM cities
WHERE lower(normalize(name, NFC)) = lower(normalize(%(name)s, NFC))

-- name: stored_cities
-- Every stored city (degrees north and east, exactly as stored).
SELECT name, latitude, longitude, timezone, country_code, subdivision FROM cities

-- name: set_load_delay
-- Set the delay of a city's load; null: not known.
UPDATE cities SET load_delay = %(delay)s WHERE id = %(city)s
