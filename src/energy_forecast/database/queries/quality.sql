-- name: last_before
-- The last time before a moment for which a city has consumption; null when there is none.
SELECT max(timestamp) FROM energy_consumption WHERE city_id = %(city)s AND timestamp < %(before)s

-- name: weather_last_before
-- The last time before a moment for which a city has observed weather; null when there is none.
SELECT max(timestamp) FROM weather_data WHERE city_id = %(city)s AND timestamp < %(before)s

-- name: forget_flags
-- Takes away the flags of a city's series that reach into [first, last], and levels from `levels_from` on; a new check
-- replaces them. Also those of a kind that share an hour with one of its new flags, which are given as arrays: a run that
-- goes on is one flag, wherever the load begins.
DELETE FROM ops.quality_flags f
WHERE city_id = %(city)s AND series = %(series)s
  AND (first_timestamp <= %(last)s
       AND last_timestamp >= CASE kind WHEN 'level' THEN %(levels_from)s::timestamptz ELSE %(first)s::timestamptz END
       OR EXISTS (
           SELECT FROM unnest(%(kinds)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[]) AS n (kind, first, last)
           WHERE n.kind = f.kind AND f.first_timestamp <= n.last AND f.last_timestamp >= n.first))

-- name: add_flag
-- Keeps what a check found: hours, from the first to the last, and how many times the usual.
INSERT INTO ops.quality_flags
    (city_id, series, kind, first_timestamp, last_timestamp, hours, factor, left_out, batch_id)
VALUES (%(city)s, %(series)s, %(kind)s, %(first)s, %(last)s, %(hours)s, %(factor)s, %(left_out)s, %(batch)s)
