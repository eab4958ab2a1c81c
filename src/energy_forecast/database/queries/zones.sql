-- name: stored_zones
-- The time zones of all cities, by name.
SELECT DISTINCT timezone FROM cities ORDER BY timezone

-- name: known_zones
-- Which of some time zones the server knows.
SELECT name FROM pg_timezone_names WHERE name = ANY (%(zones)s)

-- name: offsets_that_differ
-- The samples whose offset (local minus UTC time, seconds) is another one by the server's rules: the zone's place, the
-- moment (seconds since 1970) and the server's offset.
SELECT s.zone, s.moment, by_server.seconds
FROM unnest(%(numbers)s::integer[], %(moments)s::bigint[], %(seconds)s::integer[]) AS s (zone, moment, seconds)
CROSS JOIN LATERAL (
    SELECT extract(epoch FROM to_timestamp(s.moment) AT TIME ZONE (%(zones)s::text[])[s.zone + 1]
                              - to_timestamp(s.moment) AT TIME ZONE 'UTC')::integer AS seconds) AS by_server
WHERE by_server.seconds <> s.seconds
ORDER BY s.zone, s.moment
