-- name: add_spans
-- Store the spans that the client found while reading.
INSERT INTO spans
SELECT * FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[], %(lags)s::interval[],
                     %(stated)s::boolean[], %(early)s::boolean[])

-- name: add_gaps
-- Store the gaps that the client found while reading.
INSERT INTO gaps SELECT * FROM unnest(%(numbers)s::integer[], %(gaps)s::interval[], %(times)s::bigint[], %(follows)s::bigint[])

-- name: analyze_spans
-- Update the planner's statistics of the spans.
ANALYZE spans

-- name: add_provisional_gaps
-- Add the gaps between the stored values of cities with a provisional interval length, and to the first and last row
-- read. Stored and read rows are then judged as if all had been read at once.
INSERT INTO gaps
SELECT city_no, gap, count(*), count(*) FILTER (WHERE gap = before)
FROM (SELECT city_no, gap, lag(gap) OVER (PARTITION BY city_no ORDER BY timestamp) AS before
      FROM (SELECT city_no, timestamp, is_read AND lag(is_read) OVER city AS inside,
                   timestamp - lag(timestamp) OVER city AS gap
            FROM (SELECT k.city_no, v.timestamp, false AS is_read
                  FROM ops.provisional_intervals r
                  JOIN staged_cities k ON k.city_id = r.city_id
                  JOIN spans p ON p.city_no = k.city_no AND NOT p.stated
                  JOIN current_values v ON v.city_id = r.city_id AND v.timestamp BETWEEN r.first_timestamp AND r.last_timestamp
                  WHERE r.kind = %(kind)s AND (v.timestamp < p.first OR v.timestamp > p.last)
                  UNION
                  SELECT p.city_no, bound, true
                  FROM ops.provisional_intervals r
                  JOIN staged_cities k ON k.city_id = r.city_id
                  JOIN spans p ON p.city_no = k.city_no AND NOT p.stated
                  CROSS JOIN unnest(ARRAY[p.first, p.last]) AS bound
                  WHERE r.kind = %(kind)s) AS t
            WINDOW city AS (PARTITION BY city_no ORDER BY timestamp)) AS g
      WHERE NOT coalesce(inside, false)) AS b
WHERE gap IS NOT NULL GROUP BY city_no, gap

-- name: set_interval
-- Set the interval length of every city to that of the user (minutes).
UPDATE staged_cities k
SET interval_minutes = %(interval_minutes)s::integer,
    overlapping = EXISTS (
        SELECT FROM gaps c JOIN spans p USING (city_no)
        WHERE c.city_no = k.city_no AND c.gap < make_interval(mins => %(interval_minutes)s::integer) AND NOT p.stated)

-- name: find_intervals
-- Find the interval length of each city read (minutes): its most common gap, its stored length, or 60.
-- If no gap accounts for half of the gaps, it is the shortest gap, provided that all others are multiples of it.
-- The length is provisional until 24 rows confirm it, or 100 rows show that the gaps are uneven.
WITH minutes AS (
    SELECT city_no, (extract(epoch FROM gap) / 60)::bigint AS minutes, sum(times) AS times FROM gaps GROUP BY city_no, gap
), shortest AS (
    SELECT city_no, min(minutes) AS minutes, sum(times) AS times FROM minutes GROUP BY city_no
), even AS (
    SELECT m.city_no, bool_and(m.minutes %% s.minutes = 0) AS even FROM minutes m JOIN shortest s USING (city_no) GROUP BY m.city_no
), commonest AS (
    SELECT DISTINCT ON (m.city_no) m.city_no, m.times, s.times AS total, 2 * m.times >= s.times AS mostly,
           CASE WHEN 2 * m.times < s.times AND e.even THEN s.minutes ELSE m.minutes END AS minutes
    FROM minutes m JOIN shortest s USING (city_no) JOIN even e USING (city_no)
    ORDER BY m.city_no, m.times DESC, m.minutes
), found AS (
    SELECT k.city_no, p.stated, stored.interval_minutes AS stored, g.times, g.mostly, g.total,
           CASE WHEN g.minutes <= 60 AND 60 %% g.minutes = 0 THEN g.minutes END AS minutes
    FROM staged_cities k
    JOIN spans p USING (city_no)
    LEFT JOIN commonest g USING (city_no)
    LEFT JOIN LATERAL (
        SELECT v.interval_minutes FROM current_values v
        WHERE v.city_id = k.city_id AND NOT EXISTS (
            SELECT FROM ops.provisional_intervals r WHERE r.city_id = k.city_id AND r.kind = %(kind)s)
        ORDER BY v.timestamp DESC LIMIT 1) stored ON true
), chosen AS (
    -- A few rows with missing ones in between are weaker evidence than the city's history, unless they are closer than
    -- its interval
    SELECT f.*, make_interval(mins => coalesce(minutes, stored)::integer) AS gap_length,
           CASE WHEN minutes IS NOT NULL AND (stored IS NULL OR times >= 24 AND mostly OR minutes < stored)
                THEN minutes ELSE coalesce(stored, 60) END AS length
    FROM found f
)
UPDATE staged_cities k
SET interval_minutes = f.length,
    assumed = f.minutes IS NULL AND f.stored IS NULL AND NOT f.stated,
    provisional = f.stored IS NULL AND NOT f.stated
        AND NOT coalesce(f.times >= 24 AND f.mostly AND f.minutes IS NOT NULL OR f.total >= 100, false),
    overlapping = NOT f.stated AND EXISTS (
        SELECT FROM gaps c WHERE c.city_no = f.city_no AND c.gap < make_interval(mins => f.length::integer)),
    mixed = NOT f.stated AND EXISTS (
        SELECT FROM gaps c
        WHERE c.city_no = f.city_no AND c.times >= 24 AND c.follows >= 23 AND c.gap <> f.gap_length
          -- Below ten minutes only distances shorter than the interval count: at longer ones, every second value is
          -- missing
          AND (c.gap IN (interval '10 minutes', interval '12 minutes', interval '15 minutes', interval '20 minutes',
                         interval '30 minutes', interval '60 minutes')
               OR (c.gap < f.gap_length
                   AND c.gap IN (interval '1 minute', interval '2 minutes', interval '3 minutes', interval '4 minutes',
                                 interval '5 minutes', interval '6 minutes'))))
FROM chosen f WHERE f.city_no = k.city_no

-- name: kept_intervals
-- Cities that keep the length of their stored interval, although most of six gaps or more show another one: name, length
-- and gap (minutes).
WITH minutes AS (
    SELECT c.city_no, (extract(epoch FROM c.gap) / 60)::bigint AS minutes, c.times, sum(c.times) OVER (PARTITION BY c.city_no) AS total
    FROM gaps c JOIN spans p USING (city_no) WHERE NOT p.stated
)
SELECT k.name, k.interval_minutes, m.minutes
FROM minutes m JOIN staged_cities k USING (city_no)
WHERE m.times >= 6 AND 4 * m.times >= 3 * m.total AND m.minutes > k.interval_minutes AND m.minutes <= 60 AND mod(60, m.minutes) = 0
ORDER BY k.name

-- name: wide_cities
-- Cities whose rows are at a distance that is not a valid interval: the distance (minutes), and whether it is even.
-- If nothing is stored: three or more rows of which no two are an hour apart or less. Otherwise the rows may be
-- corrections of single values, so only even distances count: of a week of rows, of a stretch of 24, or of 7 that are
-- days apart. For amounts also distances that do not divide the hour.
WITH minutes AS (
    SELECT c.city_no, (extract(epoch FROM c.gap) / 60)::bigint AS minutes, sum(c.times) AS times, sum(c.follows) AS follows
    FROM gaps c JOIN spans p USING (city_no) WHERE NOT p.stated GROUP BY c.city_no, c.gap
), cities AS (
    SELECT city_no, sum(times) AS times, min(minutes) AS least, bool_and(minutes %% 1440 = 0) AS days FROM minutes GROUP BY city_no
), commonest AS (
    SELECT DISTINCT ON (city_no) city_no, minutes, times FROM minutes ORDER BY city_no, times DESC, minutes
), stretches AS (
    SELECT DISTINCT ON (city_no) city_no, minutes FROM minutes
    WHERE minutes > 60 AND (follows >= 23 OR minutes %% 1440 = 0 AND follows >= 7)
    ORDER BY city_no, times DESC
), stored AS (
    SELECT k.city_no, EXISTS (SELECT FROM current_values v WHERE v.city_id = k.city_id) AS is_stored
    FROM staged_cities k JOIN cities USING (city_no)
)
SELECT k.name, CASE WHEN c.least > 60 AND NOT 4 * m.times >= 3 * c.times THEN c.least ELSE coalesce(t.minutes, m.minutes) END,
       t.minutes IS NOT NULL OR 4 * m.times >= 3 * c.times
FROM cities c JOIN commonest m USING (city_no) JOIN stored s USING (city_no) JOIN staged_cities k USING (city_no)
LEFT JOIN stretches t USING (city_no)
WHERE c.least > 60 AND NOT s.is_stored AND c.times >= 2
   OR c.least > 60 AND c.times >= 6 AND (4 * m.times >= 3 * c.times OR c.days)
   OR t.minutes IS NOT NULL
   OR %(adds_up)s AND m.minutes < 60 AND 60 %% m.minutes <> 0 AND 4 * m.times >= 3 * c.times AND c.times >= 3
ORDER BY k.name

-- name: rows_to_reject
-- Whether a city has rows at the distance of another interval, rows that overlap, and rows that could not be available yet.
SELECT EXISTS (SELECT FROM staged_cities WHERE mixed), EXISTS (SELECT FROM staged_cities WHERE overlapping),
       EXISTS (
           SELECT FROM spans p JOIN staged_cities k USING (city_no)
           WHERE p.early OR p.last + make_interval(mins => CASE WHEN p.stated THEN 60 ELSE k.interval_minutes END) > %(now)s
              OR NOT p.stated AND p.lag < make_interval(mins => k.interval_minutes))

-- name: index_staged
-- Serves: finding repeated keys and neighbouring rows.
CREATE INDEX staged_key ON staged (city_no, timestamp, issued_at)

-- name: analyze_staged
-- Update the planner's statistics of the staged rows.
ANALYZE staged

-- name: reject_mixed
-- Reject stretches of at least 24 rows at a distance that is another valid interval than that of the city: one must be
-- wrong.
WITH gaps AS (
    SELECT s.city_no, s.timestamp, lead(s.timestamp) OVER city - s.timestamp AS gap
    FROM staged s JOIN staged_cities k USING (city_no) WHERE k.mixed
    WINDOW city AS (PARTITION BY s.city_no ORDER BY s.timestamp)
), islands AS (
    SELECT g.*, row_number() OVER (PARTITION BY city_no ORDER BY timestamp)
              - row_number() OVER (PARTITION BY city_no, gap ORDER BY timestamp) AS island
    FROM gaps g WHERE gap > interval '0'
), stretches AS (
    -- The last row of a city has no following row, so the distance to the previous row decides
    SELECT city_no, gap, min(timestamp) AS first,
           max(timestamp) + CASE WHEN max(timestamp) + gap = p.last THEN gap ELSE interval '0' END AS last
    FROM islands JOIN spans p USING (city_no) GROUP BY city_no, gap, island, p.last HAVING count(*) >= 24
), gone AS (
    DELETE FROM staged s USING stretches t, staged_cities k
    WHERE s.city_no = t.city_no AND k.city_no = t.city_no AND s.timestamp BETWEEN t.first AND t.last
      AND s.interval_minutes IS NULL
      AND t.gap <> make_interval(mins => k.interval_minutes) AND t.gap <= interval '1 hour'
      AND 60 %% (extract(epoch FROM t.gap) / 60)::integer = 0
    RETURNING s.*, k.name, k.interval_minutes AS minutes, t.gap
)
INSERT INTO rejected
SELECT file_no, line, 'timestamp',
       format('these rows are %%s minutes apart, but the interval of %%s was found to be %%s minutes; load them in a file'
              ' of their own', (extract(epoch FROM gap) / 60)::integer, name, minutes),
       jsonb_strip_nulls(
           jsonb_build_object('city', name, 'timestamp', timestamp, 'available_at', available_at)
           || jsonb_object(%(values)s::text[], (ARRAY[value_1, value_2, value_3, value_4]::text[])[1:cardinality(%(values)s::text[])]))
FROM gone

-- name: reject_overlapping
-- Reject rows whose interval overlaps that of the previous or next row.
-- If three of four rows of a city, or the stored rows, begin at the same minute, those at other minutes are rejected.
-- For amounts (kWh) also ambiguous rows: both rows if there is no such minute, and rows at even distances that may
-- belong to another interval.
WITH times AS (
    SELECT DISTINCT s.city_no, s.timestamp, k.city_id, k.interval_minutes, make_interval(mins => k.interval_minutes) AS length,
           (extract(epoch FROM s.timestamp) / 60)::bigint %% k.interval_minutes AS begins
    FROM staged s JOIN staged_cities k USING (city_no) WHERE k.overlapping
), counted AS (
    SELECT city_no, city_id, interval_minutes, begins, count(*) AS times FROM times GROUP BY city_no, city_id, interval_minutes, begins
), main_minute AS (
    SELECT DISTINCT ON (city_no) city_no,
           CASE WHEN 4 * times >= 3 * sum(times) OVER (PARTITION BY city_no) THEN begins
                ELSE (SELECT (extract(epoch FROM v.timestamp) / 60)::bigint %% c.interval_minutes FROM current_values v
                      WHERE v.city_id = c.city_id AND v.interval_minutes = c.interval_minutes
                      ORDER BY v.timestamp DESC LIMIT 1) END AS begins
    FROM counted c ORDER BY city_no, times DESC
), neighbours AS (
    SELECT t.*, u.begins AS main_begins, lag(timestamp) OVER city AS earlier, lead(timestamp) OVER city AS later,
           lead(timestamp) OVER city - timestamp AS gap, lead(timestamp, 2) OVER city - lead(timestamp) OVER city AS next_gap
    FROM times t JOIN main_minute u USING (city_no)
    WINDOW city AS (PARTITION BY city_no ORDER BY timestamp)
), judged AS (
    SELECT *, earlier + length > timestamp AS overlaps_earlier, timestamp + length > later AS overlaps_later,
           begins = main_begins AS in_place,
           coalesce(gap < length AND 60 %% (extract(epoch FROM gap) / 60)::integer = 0 AND gap = coalesce(next_gap, gap), false)
               AS is_even
    FROM neighbours
), gone AS (
    DELETE FROM staged s USING judged j, staged_cities k
    WHERE s.city_no = j.city_no AND s.timestamp = j.timestamp AND k.city_no = j.city_no AND s.interval_minutes IS NULL
      AND (j.overlaps_earlier OR j.overlaps_later)
      AND (NOT j.in_place OR %(adds_up)s AND (j.in_place IS NULL OR j.is_even))
    RETURNING s.*, k.name, j.interval_minutes AS minutes, j.in_place, j.is_even, j.gap,
              CASE WHEN j.overlaps_earlier AND (j.in_place IS NOT true OR NOT j.is_even) THEN j.earlier ELSE j.later END AS other
)
INSERT INTO rejected
SELECT file_no, line, 'timestamp',
       format('overlaps the interval of %%s, which has %%s minutes; %%s', to_char(other AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI"Z"'),
              minutes,
              CASE WHEN is_even THEN format('if these rows, %%s minutes apart, are of another interval, load them in a file of their own',
                                            (extract(epoch FROM gap) / 60)::integer)
                   WHEN in_place IS NULL THEN 'it is unknown which of the two is wrong'
                   ELSE format('the other rows of %%s do not begin at this minute', name) END),
       jsonb_strip_nulls(
           jsonb_build_object('city', name, 'timestamp', timestamp, 'available_at', available_at)
           || jsonb_object(%(values)s::text[], (ARRAY[value_1, value_2, value_3, value_4]::text[])[1:cardinality(%(values)s::text[])]))
FROM gone

-- name: assumed_cities
-- The cities whose interval length is assumed.
SELECT name FROM staged_cities WHERE assumed ORDER BY name

-- name: reject_early
-- Reject rows that could not be available yet: intervals that have not ended, and values available before their
-- interval's end.
WITH lengths AS (
    SELECT s.ctid AS place, k.name, coalesce(s.interval_minutes, k.interval_minutes)::integer AS minutes
    FROM staged s JOIN staged_cities k USING (city_no)
), gone AS (
    DELETE FROM staged s USING lengths l
    WHERE l.place = s.ctid
      AND (s.timestamp + make_interval(mins => l.minutes) > %(now)s
           OR s.available_at < s.timestamp + make_interval(mins => l.minutes))
    RETURNING s.*, l.name, l.minutes
)
INSERT INTO rejected
SELECT file_no, line,
       CASE WHEN timestamp + make_interval(mins => minutes) > %(now)s THEN 'timestamp' ELSE 'available_at' END,
       CASE WHEN timestamp + make_interval(mins => minutes) > %(now)s
            THEN format('the interval of %%s minutes has not ended yet', minutes)
            ELSE format('before the interval of %%s minutes has ended', minutes) END,
       jsonb_strip_nulls(
           jsonb_build_object('city', name, 'timestamp', timestamp, 'available_at', available_at)
           || jsonb_object(%(values)s::text[], (ARRAY[value_1, value_2, value_3, value_4]::text[])[1:cardinality(%(values)s::text[])]))
FROM gone

-- name: take_repeated
-- Move out every row whose key occurs more than once in the batch.
WITH keys AS MATERIALIZED (
    SELECT city_no, timestamp, issued_at FROM staged GROUP BY city_no, timestamp, issued_at HAVING count(*) > 1
), gone AS (
    DELETE FROM staged s USING keys k
    WHERE s.city_no = k.city_no AND s.timestamp = k.timestamp AND s.issued_at = k.issued_at
    RETURNING s.*
)
INSERT INTO repeated SELECT * FROM gone

-- name: judge_repeated
-- Judge each repeated key: `same` values, a `history` of versions with different available_at, or a `conflict`.
CREATE TEMP TABLE repeated_verdicts ON COMMIT DROP AS
WITH versions AS (
    -- An empty field is compatible with every value
    SELECT city_no, timestamp, issued_at, available_at,
           min(value_1) AS low_1, max(value_1) AS high_1, min(value_2) AS low_2, max(value_2) AS high_2,
           min(value_3) AS low_3, max(value_3) AS high_3, min(value_4) AS low_4, max(value_4) AS high_4,
           min(interval_minutes) AS short, max(interval_minutes) AS long
    FROM repeated GROUP BY city_no, timestamp, issued_at, available_at
)
SELECT city_no, timestamp, issued_at,
       CASE WHEN min(low_1) = max(high_1) AND coalesce(min(low_2) = max(high_2), true)
                 AND coalesce(min(low_3) = max(high_3), true) AND coalesce(min(low_4) = max(high_4), true)
                 AND coalesce(min(short) = max(long), true) THEN 'same'
            WHEN bool_and(available_at IS NOT NULL AND low_1 = high_1 AND coalesce(low_2 = high_2, true)
                          AND coalesce(low_3 = high_3, true) AND coalesce(low_4 = high_4, true)
                          AND coalesce(short = long, true)) THEN 'history'
            ELSE 'conflict' END AS verdict
FROM versions GROUP BY city_no, timestamp, issued_at;
ANALYZE repeated, repeated_verdicts

-- name: reject_conflicts
-- Reject all rows of a key with contradicting values, because the correct one is unknown.
INSERT INTO rejected
SELECT r.file_no, r.line, NULL,
       format('line %%s%%s gives other values for the same city and %%s', other.line,
              CASE WHEN other.file_no <> r.file_no THEN ' of ' || f.name ELSE '' END, %(key)s::text),
       jsonb_strip_nulls(
           jsonb_build_object('city', k.name, 'timestamp', r.timestamp, 'available_at', r.available_at,
                              'issued_at', nullif(r.issued_at, '-infinity'))
           || jsonb_object(%(values)s::text[], (ARRAY[r.value_1, r.value_2, r.value_3, r.value_4]::text[])[1:cardinality(%(values)s::text[])]))
FROM repeated r
JOIN repeated_verdicts v USING (city_no, timestamp, issued_at)
JOIN staged_cities k USING (city_no)
CROSS JOIN LATERAL (
    SELECT o.file_no, o.line FROM repeated o
    WHERE o.city_no = r.city_no AND o.timestamp = r.timestamp AND o.issued_at = r.issued_at
      AND (o.file_no, o.line) <> (r.file_no, r.line)
    ORDER BY (o.value_1, o.value_2, o.value_3, o.value_4) IS NOT DISTINCT FROM (r.value_1, r.value_2, r.value_3, r.value_4),
             o.file_no, o.line
    LIMIT 1) other
JOIN staged_files f ON f.file_no = other.file_no
WHERE v.verdict = 'conflict'

-- name: index_repeated
-- Serves: finding the other rows of a key.
CREATE INDEX repeated_key ON repeated (city_no, timestamp, issued_at)

-- name: restore_same
-- Restore one row for each key whose rows agree, with the earliest available_at.
INSERT INTO staged
SELECT (array_agg(r.file_no ORDER BY r.file_no, r.line))[1], (array_agg(r.line ORDER BY r.file_no, r.line))[1],
       city_no, timestamp, issued_at, min(r.available_at), max(r.value_1), max(r.value_2), max(r.value_3), max(r.value_4),
       max(r.interval_minutes)
FROM repeated r JOIN repeated_verdicts v USING (city_no, timestamp, issued_at)
WHERE v.verdict = 'same'
GROUP BY city_no, timestamp, issued_at

-- name: restore_histories
-- Restore the newest version of each history and move the others to older_versions.
-- Columns: numbers of rows restored and moved.
WITH versions AS (
    SELECT (array_agg(r.file_no ORDER BY r.file_no, r.line))[1] AS file_no,
           (array_agg(r.line ORDER BY r.file_no, r.line))[1] AS line,
           city_no, timestamp, issued_at, r.available_at,
           max(r.value_1) AS value_1, max(r.value_2) AS value_2, max(r.value_3) AS value_3, max(r.value_4) AS value_4,
           max(r.interval_minutes) AS interval_minutes
    FROM repeated r JOIN repeated_verdicts v USING (city_no, timestamp, issued_at)
    WHERE v.verdict = 'history'
    GROUP BY city_no, timestamp, issued_at, r.available_at
), compared AS (
    SELECT versions.*,
           row_number() OVER by_time = 1
           OR (value_1, value_2, value_3, value_4, interval_minutes) IS DISTINCT FROM
              (lag(value_1) OVER by_time, lag(value_2) OVER by_time, lag(value_3) OVER by_time, lag(value_4) OVER by_time,
               lag(interval_minutes) OVER by_time)
              AS is_new
    FROM versions
    WINDOW by_time AS (PARTITION BY city_no, timestamp, issued_at ORDER BY available_at)
), ranked AS (
    SELECT compared.*, row_number() OVER (PARTITION BY city_no, timestamp, issued_at ORDER BY available_at DESC) AS age
    FROM compared WHERE is_new
), newest AS (
    INSERT INTO staged
    SELECT file_no, line, city_no, timestamp, issued_at, available_at, value_1, value_2, value_3, value_4, interval_minutes
    FROM ranked WHERE age = 1 RETURNING 1
), older AS (
    INSERT INTO older_versions
    SELECT file_no, line, city_no, timestamp, issued_at, available_at, value_1, value_2, value_3, value_4, interval_minutes
    FROM ranked WHERE age > 1 RETURNING 1
)
SELECT (SELECT count(*) FROM newest), (SELECT count(*) FROM older)

-- name: months
-- The UTC months of the rows read, and the first and last timestamp; nulls without rows.
SELECT array_agg(DISTINCT date_trunc('month', timestamp, 'UTC') ORDER BY date_trunc('month', timestamp, 'UTC')),
       min(timestamp), max(timestamp)
FROM (SELECT timestamp FROM staged UNION ALL SELECT timestamp FROM older_versions) AS s

-- name: found_intervals
-- The interval length (minutes) of each city with rows that do not state theirs.
SELECT k.city_no, k.interval_minutes FROM staged_cities k JOIN spans s USING (city_no) WHERE NOT s.stated

-- name: consumption_means
-- By city: the number of positive values stored within 60 days of its first new value, and the mean of log10(kWh per
-- minute).
SELECT p.city_no, count(*), avg(log(v.value_1 / v.interval_minutes))::float8
FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[]) AS p (city_no, first)
JOIN staged_cities k USING (city_no)
JOIN current_values v ON v.city_id = k.city_id
WHERE v.timestamp BETWEEN p.first - interval '60 days' AND p.first + interval '60 days' AND v.value_1 > 0
GROUP BY p.city_no

-- name: weather_means
-- By city: the number of temperatures stored within 30 days of its first new value, and their mean, degrees Celsius.
SELECT p.city_no, count(*), avg(v.temperature)::float8
FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[]) AS p (city_no, first)
JOIN staged_cities k USING (city_no)
JOIN weather_data v ON v.city_id = k.city_id
WHERE v.timestamp BETWEEN p.first - interval '30 days' AND p.first + interval '30 days'
GROUP BY p.city_no
