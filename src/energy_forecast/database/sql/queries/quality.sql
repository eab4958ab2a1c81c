-- name: last_before
-- The last timestamp before a time with consumption of a city; null without one.
SELECT max(timestamp) FROM energy_consumption WHERE city_id = %(city)s AND timestamp < %(before)s

-- name: weather_last_before
-- The last timestamp before a time with observed weather of a city; null without one.
SELECT max(timestamp) FROM weather_data WHERE city_id = %(city)s AND timestamp < %(before)s

-- name: remove_flags
-- Remove the flags of a city's series that overlap [first, last], and level changes since `levels_from`: a new check
-- replaces them. Also remove flags that share an hour with a new flag of the same kind (given as arrays), so that a
-- continued run is one flag, regardless of the start of the batch.
DELETE FROM ops.quality_flags f
WHERE city_id = %(city)s AND series = %(series)s
  AND (first_timestamp <= %(last)s
       AND last_timestamp >= CASE kind WHEN 'level' THEN %(levels_from)s::timestamptz ELSE %(first)s::timestamptz END
       OR EXISTS (
           SELECT FROM unnest(%(kinds)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[]) AS n (kind, first, last)
           WHERE n.kind = f.kind AND f.first_timestamp <= n.last AND f.last_timestamp >= n.first))

-- name: add_flag
-- Store a flag of a check: number of hours, first and last hour, and the factor to the expected value.
INSERT INTO ops.quality_flags
    (city_id, series, kind, first_timestamp, last_timestamp, hours, factor, left_out, batch_id)
VALUES (%(city)s, %(series)s, %(kind)s, %(first)s, %(last)s, %(hours)s, %(factor)s, %(left_out)s, %(batch)s)
