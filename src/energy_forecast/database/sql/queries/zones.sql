-- name: stored_zones
-- The time zones of all cities, sorted by name.
SELECT DISTINCT timezone FROM cities ORDER BY timezone

-- name: known_zones
-- The given time zones that the server knows.
SELECT name FROM pg_timezone_names WHERE name = ANY (%(zones)s)

-- name: offsets_that_differ
-- The samples for which the server has another offset (local minus UTC time, seconds).
-- Columns: position of the zone, time (seconds since 1970), the server's offset.
SELECT s.zone, s.moment, by_server.seconds
FROM unnest(%(numbers)s::integer[], %(moments)s::bigint[], %(seconds)s::integer[]) AS s (zone, moment, seconds)
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM to_timestamp(s.moment) AT TIME ZONE (%(zones)s::text[])[s.zone + 1]
                              - to_timestamp(s.moment) AT TIME ZONE 'UTC')::integer AS seconds) AS by_server
WHERE by_server.seconds <> s.seconds
ORDER BY s.zone, s.moment

-- name: zones
-- The names of the time zones that the server knows.
SELECT name FROM pg_timezone_names
