-- name: waiting_cities
-- Cities with pending checks of a series (all, or those with the names), the longest waiting first: id, name, hours in
-- the ranges.
SELECT p.city_id, c.name, sum(extract(epoch FROM p.last_timestamp - p.first_timestamp) / 3600)::float8
FROM ops.pending_checks p JOIN cities c ON c.id = p.city_id
WHERE p.series = %(series)s AND (%(names)s::text[] IS NULL OR c.name = ANY (%(names)s))
GROUP BY p.city_id, c.name
ORDER BY min(p.created_at), c.name

-- name: count_waiting
-- Number of cities with pending checks, and the time since which the first one waits (null: none).
SELECT count(DISTINCT city_id), min(created_at) FROM ops.pending_checks

-- name: take_checks
-- Pending checks of cities that no other session is checking, which are locked until the end of the transaction.
-- Columns: city, batch, first and last timestamp, in this order: city, first timestamp, age.
WITH locked AS MATERIALIZED (
    SELECT city FROM unnest(%(cities)s::uuid[]) AS city
    WHERE pg_try_advisory_xact_lock(hashtextextended('energy_forecast check ' || %(series)s || city, 0))
)
SELECT p.city_id, p.batch_id, p.first_timestamp, p.last_timestamp
FROM ops.pending_checks p JOIN locked ON locked.city = p.city_id
WHERE p.series = %(series)s
ORDER BY p.city_id, p.first_timestamp, p.created_at

-- name: finish_checks
-- Delete checks from the queue, given by city and batch.
DELETE FROM ops.pending_checks p USING unnest(%(cities)s::uuid[], %(batches)s::uuid[]) AS done (city_id, batch_id)
WHERE p.city_id = done.city_id AND p.batch_id = done.batch_id AND p.series = %(series)s

-- name: consumption_ranges
-- Consumption of cities, each in its range [first, end), as known at a time: one row per range, in order.
-- Columns: the bytes of timestamps, values (hundredths of kWh) and interval minutes.
SELECT v.* FROM unnest(%(cities)s::uuid[], %(firsts)s::timestamptz[], %(ends)s::timestamptz[])
    WITH ORDINALITY AS r (city, first, ending, number)
CROSS JOIN LATERAL (
    SELECT string_agg(timestamptz_send(timestamp), ''), string_agg(int8send((consumption_kwh * 100)::bigint), ''),
           string_agg(int2send(interval_minutes), '')
    FROM consumption_as_of(r.city, %(as_of)s, r.first, r.ending)) AS v
ORDER BY r.number

-- name: weather_ranges
-- As consumption_ranges. Columns: the bytes of timestamps and temperatures (degrees Celsius).
SELECT v.* FROM unnest(%(cities)s::uuid[], %(firsts)s::timestamptz[], %(ends)s::timestamptz[])
    WITH ORDINALITY AS r (city, first, ending, number)
CROSS JOIN LATERAL (
    SELECT string_agg(timestamptz_send(timestamp), ''), string_agg(float8send(coalesce(temperature::float8, 'NaN')), '')
    FROM weather_as_of(r.city, %(as_of)s, r.first, r.ending)) AS v
ORDER BY r.number

-- name: phases
-- The minute past the UTC hour at which the hours of cities begin, as known at a time, one row per city, in order.
SELECT load_phase_as_of(city, %(as_of)s)
FROM unnest(%(cities)s::uuid[]) WITH ORDINALITY AS c (city, number) ORDER BY number

-- name: consumption_before
-- The last timestamp with consumption of each city before its time, one row per city, in order; null without one.
SELECT (SELECT max(v.timestamp) FROM energy_consumption v WHERE v.city_id = c.city AND v.timestamp < c.before)
FROM unnest(%(cities)s::uuid[], %(before_times)s::timestamptz[]) WITH ORDINALITY AS c (city, before, number) ORDER BY number

-- name: weather_before
-- The last timestamp with observed weather of each city before its time, one row per city, in order; null without one.
SELECT (SELECT max(v.timestamp) FROM weather_data v WHERE v.city_id = c.city AND v.timestamp < c.before)
FROM unnest(%(cities)s::uuid[], %(before_times)s::timestamptz[]) WITH ORDINALITY AS c (city, before, number) ORDER BY number

-- name: remove_flags
-- Remove the flags of cities that overlap their spans [first, last], and level changes since `levels_from`: a new check
-- replaces them. Also remove flags that share an hour with a new flag of the same kind, so that a continued run is one
-- flag, regardless of the start of the batch.
DELETE FROM ops.quality_flags f
USING unnest(%(span_cities)s::uuid[], %(span_firsts)s::timestamptz[], %(span_lasts)s::timestamptz[],
             %(levels_froms)s::timestamptz[]) AS span (city_id, first, last, levels_from)
WHERE f.city_id = span.city_id AND f.series = %(series)s
  AND (f.first_timestamp <= span.last
       AND f.last_timestamp >= CASE f.kind WHEN 'level' THEN span.levels_from ELSE span.first END
       OR EXISTS (
           SELECT FROM unnest(%(cities)s::uuid[], %(kinds)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
               AS n (city_id, kind, first, last)
           WHERE n.city_id = f.city_id AND n.kind = f.kind AND f.first_timestamp <= n.last AND f.last_timestamp >= n.first))

-- name: add_flags
-- Store the flags of a check: number of hours, first and last hour, and the factor to the expected value.
INSERT INTO ops.quality_flags
    (city_id, series, kind, first_timestamp, last_timestamp, hours, factor, left_out, batch_id)
SELECT city_id, %(series)s, kind, first, last, hours, factor, left_out, batch_id
FROM unnest(%(cities)s::uuid[], %(kinds)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[],
            %(hours)s::integer[], %(factors)s::float8[], %(left_outs)s::boolean[], %(batches)s::uuid[])
    AS n (city_id, kind, first, last, hours, factor, left_out, batch_id)
