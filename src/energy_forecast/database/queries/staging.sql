-- name: create_staging
-- Create the session's tables: the numbered files and cities of a load, the rows read, and the rows rejected.
-- Up to ten million rows are sorted and joined; the server's default of 4 MB is meant for many small queries
SET work_mem = '64MB';
SET maintenance_work_mem = '128MB';
CREATE TEMP TABLE staged_files (file_no integer PRIMARY KEY, name text NOT NULL);
CREATE TEMP TABLE staged_cities (
    city_no          integer PRIMARY KEY,
    city_id          uuid NOT NULL,
    name             text NOT NULL,
    interval_minutes smallint,
    -- Neither the rows nor the database show the interval length
    assumed          boolean NOT NULL DEFAULT false,
    -- The read and stored rows are too few to determine the interval length
    provisional      boolean NOT NULL DEFAULT false,
    -- Many rows are at a distance that is another valid interval length
    mixed            boolean NOT NULL DEFAULT false,
    -- Some rows are closer together than the interval length
    overlapping      boolean NOT NULL DEFAULT false
);
-- One layout for all kinds: value_1 to value_4 are the kind's value columns in order, in kWh and kW or units of weather.
CREATE TEMP TABLE staged (
    file_no      integer NOT NULL,
    line         bigint NOT NULL,
    city_no      integer NOT NULL,
    timestamp    timestamptz NOT NULL,
    issued_at    timestamptz NOT NULL DEFAULT '-infinity',
    available_at timestamptz,
    value_1      numeric(12,2) NOT NULL,
    value_2      numeric(12,2),
    value_3      numeric(12,2),
    value_4      numeric(12,2),
    -- As stated in the row; null: that of the city
    interval_minutes smallint,
    -- Created by the client, in bulk; null for a row that the database combines
    id           uuid
);
-- The time span of each city's rows, and the minimum of available_at minus timestamp
CREATE TEMP TABLE spans (
    city_no integer PRIMARY KEY,
    first   timestamptz NOT NULL,
    last    timestamptz NOT NULL,
    lag     interval,
    -- Every row states its interval
    stated  boolean NOT NULL,
    -- A row that states its interval has an available_at before its end
    early   boolean NOT NULL
);
-- The frequency of each distance between neighbouring rows, and how often at most it follows the same distance
CREATE TEMP TABLE gaps (
    city_no integer NOT NULL, gap interval NOT NULL, times bigint NOT NULL, follows bigint NOT NULL);
CREATE TEMP TABLE repeated (LIKE staged);
CREATE TEMP TABLE older_versions (LIKE staged);
CREATE TEMP TABLE differing (
    city_id          uuid NOT NULL,
    timestamp        timestamptz NOT NULL,
    available_at     timestamptz,
    interval_minutes smallint NOT NULL,
    value_1          numeric NOT NULL,
    value_2          numeric,
    value_3          numeric,
    value_4          numeric,
    id               uuid,
    verdict          text NOT NULL
);
CREATE TEMP TABLE refused (
    file_no     integer NOT NULL,
    line        bigint NOT NULL,
    column_name text,
    reason      text NOT NULL,
    row_data    jsonb NOT NULL,
    cell_only   boolean NOT NULL DEFAULT false,
    -- Rejected by the client, which counted these rows and sends only as many as are stored
    by_client   boolean NOT NULL DEFAULT false
)

-- name: server_clock
-- The database's clock, the retention of a table, and the time before which retention removes its months (nulls: unlimited).
SELECT clock_timestamp(), p.keep::text, date_trunc('month', now() - p.keep, 'UTC')
FROM (VALUES (1)) AS one LEFT JOIN ops.retention_policies p ON p.table_name = %(table)s AND p.by_month

-- name: add_files
-- Store the files of the load, numbered from 0.
INSERT INTO staged_files SELECT position - 1, name FROM unnest(%(names)s::text[]) WITH ORDINALITY AS f (name, position)

-- name: add_cities
-- Store the numbered cities of the load.
INSERT INTO staged_cities (city_no, city_id, name)
SELECT * FROM unnest(%(numbers)s::integer[], %(ids)s::uuid[], %(names)s::text[])

-- name: consumption_copy
-- Copy rows: kWh in the interval, and kW.
COPY staged (file_no, line, city_no, id, timestamp, available_at, interval_minutes, value_1, value_2) FROM STDIN (FORMAT binary)

-- name: weather_copy
-- Copy rows: degrees Celsius, percent, m/s, mm.
COPY staged (file_no, line, city_no, id, timestamp, available_at, interval_minutes, value_1, value_2, value_3, value_4)
FROM STDIN (FORMAT binary)

-- name: weather_forecasts_copy
-- Copy rows: degrees Celsius, percent, m/s, mm.
COPY staged (file_no, line, city_no, id, timestamp, issued_at, value_1, value_2, value_3, value_4)
FROM STDIN (FORMAT binary)

-- name: refused_copy
-- Copy rows rejected while reading, and cells left empty.
COPY refused (file_no, line, column_name, reason, row_data, cell_only, by_client) FROM STDIN (FORMAT csv)

-- name: index_staged
-- Sort the rows to find gaps, spans and repeated keys, if the order of the files did not show them.
CREATE INDEX staged_key ON staged (city_no, timestamp, issued_at);
ANALYZE staged;
INSERT INTO spans
SELECT city_no, min(timestamp), max(timestamp), min(available_at - timestamp), bool_and(interval_minutes IS NOT NULL),
       coalesce(bool_or(available_at < timestamp + make_interval(mins => interval_minutes)), false)
FROM staged GROUP BY city_no;
ANALYZE spans

-- name: analyze_staged
-- Update the planner's statistics; the client has provided the spans.
ANALYZE staged, spans

-- name: add_spans
-- Store the spans that the client found while reading.
INSERT INTO spans
SELECT * FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[], %(lags)s::interval[],
                     %(stated)s::boolean[], %(early)s::boolean[])

-- name: add_gaps
-- Store the gaps that the client found while reading.
INSERT INTO gaps SELECT * FROM unnest(%(numbers)s::integer[], %(gaps)s::interval[], %(times)s::bigint[], %(follows)s::bigint[])

-- name: find_gaps
-- Find the gaps between the staged rows.
INSERT INTO gaps
SELECT city_no, gap, count(*), count(*) FILTER (WHERE gap = before)
FROM (SELECT city_no, gap, lag(gap) OVER (PARTITION BY city_no ORDER BY timestamp) AS before
      FROM (SELECT city_no, timestamp, timestamp - lag(timestamp) OVER (PARTITION BY city_no ORDER BY timestamp) AS gap
            FROM (SELECT DISTINCT city_no, timestamp FROM staged) AS t) AS g) AS b
WHERE gap IS NOT NULL GROUP BY city_no, gap

-- name: add_provisional_gaps
-- Add the gaps between the stored values of cities with a provisional interval length, and to the first and last row read.
-- Stored and read rows are then judged as if all had been read at once.
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

-- name: consumption_views
-- Create views of stored consumption in the layout of `staged`: current and superseded values.
CREATE TEMP VIEW current_values AS
SELECT city_id, timestamp, available_at, interval_minutes, consumption_kwh AS value_1, peak_demand_kw AS value_2,
       NULL::numeric AS value_3, NULL::numeric AS value_4
FROM energy_consumption;
CREATE TEMP VIEW past_values AS
SELECT city_id, timestamp, available_at, interval_minutes, consumption_kwh AS value_1, peak_demand_kw AS value_2,
       NULL::numeric AS value_3, NULL::numeric AS value_4
FROM energy_consumption_revisions

-- name: weather_views
-- Create views of stored weather in the layout of `staged`: current and superseded values.
CREATE TEMP VIEW current_values AS
SELECT city_id, timestamp, available_at, interval_minutes, temperature AS value_1, humidity AS value_2,
       wind_speed AS value_3, precipitation AS value_4
FROM weather_data;
CREATE TEMP VIEW past_values AS
SELECT city_id, timestamp, available_at, interval_minutes, temperature AS value_1, humidity AS value_2,
       wind_speed AS value_3, precipitation AS value_4
FROM weather_data_revisions

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
    -- A few rows with missing ones in between are weaker evidence than the city's history, unless they are closer than its interval
    SELECT f.*, make_interval(mins => coalesce(minutes, stored)::integer) AS told,
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
        WHERE c.city_no = f.city_no AND c.times >= 24 AND c.follows >= 23 AND c.gap <> f.told
          -- Below ten minutes only distances shorter than the interval count: at longer ones, every second value is missing
          AND (c.gap IN (interval '10 minutes', interval '12 minutes', interval '15 minutes', interval '20 minutes',
                         interval '30 minutes', interval '60 minutes')
               OR (c.gap < f.told
                   AND c.gap IN (interval '1 minute', interval '2 minutes', interval '3 minutes', interval '4 minutes',
                                 interval '5 minutes', interval '6 minutes'))))
FROM chosen f WHERE f.city_no = k.city_no

-- name: wide_cities
-- Cities whose rows are at a distance that is not a valid interval: the distance (minutes), and whether it is even.
-- If nothing is stored: three or more rows of which no two are an hour apart or less. Otherwise the rows may be corrections
-- of single values, so only even distances count: of a week of rows, of a stretch of 24, or of 7 that are days apart. For
-- amounts also distances that do not divide the hour.
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

-- name: refuse_mixed
-- Reject stretches of at least 24 rows at a distance that is another valid interval than that of the city: one must be wrong.
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
INSERT INTO refused
SELECT file_no, line, 'timestamp',
       format('these rows are %%s minutes apart, but the interval of %%s was found to be %%s minutes; load them in a file'
              ' of their own', (extract(epoch FROM gap) / 60)::integer, name, minutes),
       jsonb_strip_nulls(
           jsonb_build_object('city', name, 'timestamp', timestamp, 'available_at', available_at)
           || jsonb_object(%(values)s::text[], (ARRAY[value_1, value_2, value_3, value_4]::text[])[1:cardinality(%(values)s::text[])]))
FROM gone

-- name: any_closer
-- Whether there are rows to reject because their distance is another interval, and because they overlap.
SELECT coalesce(bool_or(mixed), false), coalesce(bool_or(overlapping), false) FROM staged_cities

-- name: refuse_overlapping
-- Reject rows whose interval overlaps that of the previous or next row.
-- If three of four rows of a city, or the stored rows, begin at the same minute, those at other minutes are rejected. For
-- amounts (kWh) also ambiguous rows: both rows if there is no such minute, and rows at even distances that may belong to
-- another interval.
WITH times AS (
    SELECT DISTINCT s.city_no, s.timestamp, k.city_id, k.interval_minutes, make_interval(mins => k.interval_minutes) AS length,
           (extract(epoch FROM s.timestamp) / 60)::bigint %% k.interval_minutes AS begins
    FROM staged s JOIN staged_cities k USING (city_no) WHERE k.overlapping
), counted AS (
    SELECT city_no, city_id, interval_minutes, begins, count(*) AS times FROM times GROUP BY city_no, city_id, interval_minutes, begins
), usual AS (
    SELECT DISTINCT ON (city_no) city_no,
           CASE WHEN 4 * times >= 3 * sum(times) OVER (PARTITION BY city_no) THEN begins
                ELSE (SELECT (extract(epoch FROM v.timestamp) / 60)::bigint %% c.interval_minutes FROM current_values v
                      WHERE v.city_id = c.city_id AND v.interval_minutes = c.interval_minutes
                      ORDER BY v.timestamp DESC LIMIT 1) END AS begins
    FROM counted c ORDER BY city_no, times DESC
), neighbours AS (
    SELECT t.*, u.begins AS usual, lag(timestamp) OVER city AS earlier, lead(timestamp) OVER city AS later,
           lead(timestamp) OVER city - timestamp AS gap, lead(timestamp, 2) OVER city - lead(timestamp) OVER city AS next_gap
    FROM times t JOIN usual u USING (city_no)
    WINDOW city AS (PARTITION BY city_no ORDER BY timestamp)
), judged AS (
    SELECT *, earlier + length > timestamp AS overlaps_earlier, timestamp + length > later AS overlaps_later,
           begins = usual AS in_place,
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
INSERT INTO refused
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

-- name: any_early
-- Whether there are rows that could not be available yet.
SELECT EXISTS (
    SELECT FROM spans p JOIN staged_cities k USING (city_no)
    WHERE p.early OR p.last + make_interval(mins => CASE WHEN p.stated THEN 60 ELSE k.interval_minutes END) > %(now)s
       OR NOT p.stated AND p.lag < make_interval(mins => k.interval_minutes))

-- name: assumed_cities
-- The cities whose interval length is assumed.
SELECT name FROM staged_cities WHERE assumed ORDER BY name

-- name: refuse_early
-- Reject rows that could not be available yet: intervals that have not ended, and values available before their interval's end.
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
INSERT INTO refused
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
-- Move out every row whose key occurs more than once in the load.
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
CREATE TEMP TABLE repeated_verdicts AS
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

-- name: refuse_conflicts
-- Reject all rows of a key with contradicting values, because the correct one is unknown.
INSERT INTO refused
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
-- Restore the newest version of each history and move the others to older_versions: the number moved.
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
    FROM ranked WHERE age = 1
)
INSERT INTO older_versions
SELECT file_no, line, city_no, timestamp, issued_at, available_at, value_1, value_2, value_3, value_4, interval_minutes
FROM ranked WHERE age > 1

-- name: months
-- The UTC months of the rows read, and the first and last timestamp; nulls without rows.
SELECT array_agg(DISTINCT date_trunc('month', timestamp, 'UTC') ORDER BY date_trunc('month', timestamp, 'UTC')),
       min(timestamp), max(timestamp)
FROM (SELECT timestamp FROM staged UNION ALL SELECT timestamp FROM older_versions) AS s

-- name: wait_for_locks
-- Limit the time for which this transaction waits for a lock.
SELECT set_config('lock_timeout', %(time)s::text, true)

-- name: ensure_months
-- Create the missing partitions of these months.
SELECT ensure_month_partitions(%(table)s, month, month) FROM unnest(%(months)s::timestamptz[]) AS month

-- name: stored_values
-- The stored values within the spans of some cities, one row per city.
-- Columns: number of the city, and arrays of interval minutes, timestamps and values in hundredths (kWh and kW, or units
-- of weather), all of 8 bytes.
SELECT p.city_no, c.minutes, c.times, c.value_1, c.value_2, c.value_3, c.value_4
FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[]) AS p (city_no, first, last)
JOIN staged_cities k USING (city_no)
CROSS JOIN LATERAL (
    SELECT array_agg(v.interval_minutes::bigint) AS minutes, array_agg(v.timestamp) AS times,
           array_agg((v.value_1 * 100)::bigint) AS value_1,
           array_agg(coalesce((v.value_2 * 100)::bigint, %(absent)s::bigint)) AS value_2,
           array_agg(coalesce((v.value_3 * 100)::bigint, %(absent)s::bigint)) AS value_3,
           array_agg(coalesce((v.value_4 * 100)::bigint, %(absent)s::bigint)) AS value_4
    FROM current_values v
    WHERE v.city_id = k.city_id AND v.timestamp BETWEEN p.first AND p.last
      -- Bounds over all cities let the planner skip the other months
      AND v.timestamp BETWEEN %(first)s AND %(last)s) AS c
WHERE c.times IS NOT NULL

-- name: existing_months
-- The existing UTC months of a table, and the time by which a month must end to be filled before it is attached.
SELECT coalesce((
           SELECT array_agg(to_timestamp(right(relname, 7), 'YYYY"m"MM')) FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relname ~ ('^' || %(table)s::text || '_y[0-9]{4}m[0-9]{2}$')), '{}'),
       ops.months_loaded_before(%(table)s)

-- name: begin_month
-- Create the table for the rows of a month: its name in ops.
SELECT ops.begin_month(%(table)s, %(month)s)

-- name: attach_months
-- Attach the filled months as partitions of their table.
SELECT ops.attach_months(%(table)s, %(months)s)

-- name: found_intervals
-- The interval length (minutes) of each city with rows that do not state theirs.
SELECT k.city_no, k.interval_minutes FROM staged_cities k JOIN spans s USING (city_no) WHERE NOT s.stated

-- name: consumption_means
-- By city: the number of positive values stored within 60 days of its first new value, and the mean of log10(kWh per minute).
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

-- name: lock_kind
-- Take the lock for merges of a kind until the end of the session.
SELECT pg_advisory_lock(hashtext('energy_forecast ingest ' || %(kind)s))

-- name: judge_differing
-- Judge the rows with values that are not stored: new, a correction, an older version, or a repeat of a superseded value.
INSERT INTO differing
-- Two values cannot be available at the same time: a value with the available_at of the stored one is available from now
SELECT k.city_id, s.timestamp, nullif(s.available_at, c.available_at), coalesce(s.interval_minutes, k.interval_minutes),
       s.value_1, s.value_2, s.value_3, s.value_4, s.id,
       CASE WHEN c.city_id IS NULL THEN 'new'
            WHEN s.available_at > c.available_at THEN 'correction'
            WHEN s.available_at < c.available_at THEN 'older'
            WHEN EXISTS (
                SELECT FROM past_values p
                WHERE p.city_id = k.city_id AND p.timestamp = s.timestamp AND p.value_1 = s.value_1
                  AND (s.value_2 IS NULL OR s.value_2 = p.value_2) AND (s.value_3 IS NULL OR s.value_3 = p.value_3)
                  AND (s.value_4 IS NULL OR s.value_4 = p.value_4)
                  AND (s.available_at IS NULL OR s.available_at = p.available_at)
                  AND coalesce(p.interval_minutes = coalesce(s.interval_minutes, CASE WHEN %(interval_given)s
                                                                                    THEN k.interval_minutes END), true))
                THEN 'repeat'
            ELSE 'correction' END
FROM staged s
JOIN staged_cities k USING (city_no)
LEFT JOIN (SELECT * FROM current_values WHERE timestamp BETWEEN %(first)s AND %(last)s) c
    ON c.city_id = k.city_id AND c.timestamp = s.timestamp
WHERE c.city_id IS NULL OR s.value_1 <> c.value_1
       -- An empty field does not replace a stored value
       OR s.value_2 IS NOT NULL AND s.value_2 IS DISTINCT FROM c.value_2
       OR s.value_3 IS NOT NULL AND s.value_3 IS DISTINCT FROM c.value_3
       OR s.value_4 IS NOT NULL AND s.value_4 IS DISTINCT FROM c.value_4
       OR c.interval_minutes <> coalesce(s.interval_minutes, CASE WHEN %(interval_given)s THEN k.interval_minutes END)

-- name: any_stored
-- Whether anything is stored within the span of a city's rows; if not, no row has to be looked up.
SELECT EXISTS (
    SELECT FROM spans p JOIN staged_cities k USING (city_no)
    CROSS JOIN LATERAL (
        SELECT FROM current_values c WHERE c.city_id = k.city_id AND c.timestamp BETWEEN p.first AND p.last LIMIT 1) stored)

-- name: add_older_versions
-- Add the superseded versions of this load to the versions older than the stored rows.
INSERT INTO differing
SELECT k.city_id, o.timestamp, o.available_at, coalesce(o.interval_minutes, k.interval_minutes), o.value_1, o.value_2, o.value_3, o.value_4, o.id, 'older'
FROM older_versions o JOIN staged_cities k USING (city_no)

-- name: count_differing
-- The number of rows of each verdict, and of those without available_at.
SELECT verdict, count(*), count(*) FILTER (WHERE available_at IS NULL) FROM differing WHERE verdict <> 'new' GROUP BY verdict

-- name: remove_stored_versions
-- Remove the older versions that are already stored.
DELETE FROM differing d
WHERE d.verdict = 'older' AND EXISTS (
    SELECT FROM (
        SELECT * FROM past_values p WHERE p.city_id = d.city_id AND p.timestamp = d.timestamp
        UNION ALL
        SELECT * FROM current_values c WHERE c.city_id = d.city_id AND c.timestamp = d.timestamp) AS known
    WHERE known.available_at = d.available_at AND known.value_1 = d.value_1
      AND (d.value_2 IS NULL OR d.value_2 = known.value_2) AND (d.value_3 IS NULL OR d.value_3 = known.value_3)
      AND (d.value_4 IS NULL OR d.value_4 = known.value_4))

-- name: consumption_store_older
-- Store older versions of consumption (kWh, kW) as history.
INSERT INTO energy_consumption_revisions
    (city_id, timestamp, consumption_kwh, peak_demand_kw, available_at, interval_minutes)
SELECT city_id, timestamp, value_1, value_2, available_at, interval_minutes FROM differing WHERE verdict = 'older'

-- name: weather_store_older
-- Store older versions of weather (degrees Celsius, percent, m/s, mm) as history.
INSERT INTO weather_data_revisions
    (city_id, timestamp, temperature, humidity, wind_speed, precipitation, available_at, interval_minutes)
SELECT city_id, timestamp, value_1, value_2, value_3, value_4, available_at, interval_minutes
FROM differing WHERE verdict = 'older'

-- name: consumption_correct
-- Correct consumption (kWh, kW); a trigger stores the old value. Without available_at the value is available from now.
UPDATE energy_consumption c
SET consumption_kwh = d.value_1, peak_demand_kw = coalesce(d.value_2, c.peak_demand_kw),
    available_at = coalesce(d.available_at, greatest(now(), c.available_at)), interval_minutes = d.interval_minutes
FROM differing d
WHERE d.verdict = 'correction' AND c.city_id = d.city_id AND c.timestamp = d.timestamp

-- name: weather_correct
-- Correct weather (degrees Celsius, percent, m/s, mm); a trigger stores the old value.
UPDATE weather_data c
SET temperature = d.value_1, humidity = coalesce(d.value_2, c.humidity),
    wind_speed = coalesce(d.value_3, c.wind_speed), precipitation = coalesce(d.value_4, c.precipitation),
    available_at = coalesce(d.available_at, greatest(now(), c.available_at)), interval_minutes = d.interval_minutes
FROM differing d
WHERE d.verdict = 'correction' AND c.city_id = d.city_id AND c.timestamp = d.timestamp

-- name: insert_staged
-- Insert the staged rows: all if nothing is stored within their spans, otherwise the new ones.
SELECT ops.insert_staged(%(kind)s, %(only_new)s)

-- name: provisional_values
-- Stored values whose provisional interval differs from the length shown by the rows (minutes).
-- Columns: number of the city, the length, number of values, first and last timestamp.
SELECT k.city_no, k.interval_minutes, count(*), min(v.timestamp), max(v.timestamp)
FROM ops.provisional_intervals r
JOIN staged_cities k ON k.city_id = r.city_id
JOIN spans p ON p.city_no = k.city_no AND NOT p.stated
JOIN current_values v ON v.city_id = r.city_id AND v.timestamp BETWEEN r.first_timestamp AND r.last_timestamp
WHERE r.kind = %(kind)s AND v.interval_minutes <> k.interval_minutes
GROUP BY k.city_no, k.interval_minutes ORDER BY k.city_no

-- name: consumption_revise_intervals
-- Set the interval length of those values of a city (minutes). It is available from now.
UPDATE energy_consumption c
SET interval_minutes = k.interval_minutes, available_at = greatest(now(), c.available_at)
FROM staged_cities k JOIN ops.provisional_intervals r USING (city_id)
WHERE k.city_no = %(city_no)s AND r.kind = 'consumption' AND c.city_id = k.city_id
  AND c.timestamp BETWEEN %(first)s AND %(last)s AND c.timestamp BETWEEN r.first_timestamp AND r.last_timestamp
  AND c.interval_minutes <> k.interval_minutes

-- name: weather_revise_intervals
-- Set the interval length of those values of a city (minutes). It is available from now.
UPDATE weather_data c
SET interval_minutes = k.interval_minutes, available_at = greatest(now(), c.available_at)
FROM staged_cities k JOIN ops.provisional_intervals r USING (city_id)
WHERE k.city_no = %(city_no)s AND r.kind = 'weather' AND c.city_id = k.city_id
  AND c.timestamp BETWEEN %(first)s AND %(last)s AND c.timestamp BETWEEN r.first_timestamp AND r.last_timestamp
  AND c.interval_minutes <> k.interval_minutes

-- name: remove_provisional
-- Remove the cities whose interval length is no longer provisional.
DELETE FROM ops.provisional_intervals r USING staged_cities k, spans p
WHERE r.city_id = k.city_id AND r.kind = %(kind)s AND p.city_no = k.city_no AND NOT p.stated AND NOT k.provisional

-- name: record_provisional
-- Record the cities with a provisional interval length, and the span of their values.
INSERT INTO ops.provisional_intervals AS r (city_id, kind, first_timestamp, last_timestamp)
SELECT k.city_id, %(kind)s, p.first, p.last FROM staged_cities k JOIN spans p USING (city_no) WHERE k.provisional
ON CONFLICT (city_id, kind) DO UPDATE
SET first_timestamp = least(r.first_timestamp, excluded.first_timestamp),
    last_timestamp = greatest(r.last_timestamp, excluded.last_timestamp)

-- name: refuse_changed_forecasts
-- Reject forecasts that differ from the stored ones of the same issue.
WITH gone AS (
    DELETE FROM staged s USING staged_cities k, weather_forecasts f
    WHERE k.city_no = s.city_no AND f.city_id = k.city_id AND f.timestamp = s.timestamp AND f.issued_at = s.issued_at
      AND f.timestamp BETWEEN %(first)s AND %(last)s
      AND (s.value_1 <> f.temperature
           OR s.value_2 IS NOT NULL AND s.value_2 IS DISTINCT FROM f.humidity
           OR s.value_3 IS NOT NULL AND s.value_3 IS DISTINCT FROM f.wind_speed
           OR s.value_4 IS NOT NULL AND s.value_4 IS DISTINCT FROM f.precipitation)
    RETURNING s.*, k.name
)
INSERT INTO refused
SELECT file_no, line, NULL, 'other values are stored for this issue: a forecast that was issued is never changed',
       jsonb_strip_nulls(
           jsonb_build_object('city', name, 'timestamp', timestamp, 'issued_at', issued_at)
           || jsonb_object(%(values)s::text[], (ARRAY[value_1, value_2, value_3, value_4]::text[])[1:cardinality(%(values)s::text[])]))
FROM gone

-- name: weather_forecasts_insert
-- Insert weather forecasts (degrees Celsius, percent, m/s, mm) that are not stored.
INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature, humidity, wind_speed, precipitation)
SELECT k.city_id, s.timestamp, s.issued_at, s.value_1, s.value_2, s.value_3, s.value_4
FROM staged s JOIN staged_cities k USING (city_no)
WHERE NOT EXISTS (
    SELECT FROM weather_forecasts f
    WHERE f.city_id = k.city_id AND f.timestamp = s.timestamp AND f.issued_at = s.issued_at
      AND f.timestamp BETWEEN %(first)s AND %(last)s)
ORDER BY s.city_no, s.timestamp, s.issued_at

-- name: set_joins
-- Enable or disable hash and merge joins. With few staged rows, key lookups are faster.
-- The newest partitions have no statistics from which the planner could derive this.
SELECT set_config('enable_hashjoin', %(joins)s::text, true), set_config('enable_mergejoin', %(joins)s::text, true)

-- name: count_staged
-- The number of rows still to be merged.
SELECT count(*) FROM staged

-- name: refused_reasons
-- The number of rows that the database rejected for each column and reason, with values and numbers replaced by three dots.
SELECT column_name, regexp_replace(reason, $$'[^']*'|[0-9][0-9:.-]*Z?( [0-9:]+Z)?$$, '...', 'g') AS words, count(*)
FROM refused WHERE NOT by_client GROUP BY column_name, words ORDER BY count(*) DESC, words

-- name: refused_examples
-- The first rejected rows in file order.
SELECT f.name, r.line, r.column_name, r.reason FROM refused r JOIN staged_files f USING (file_no) WHERE NOT r.cell_only
ORDER BY r.file_no, r.line LIMIT %(limit)s

-- name: record_batch
-- Record the load in the ledger.
INSERT INTO ops.ingest_batches (id, kind, files, read, inserted, corrected, unchanged, rejected, notes, cells_left_empty, reasons)
VALUES (%(batch)s, %(kind)s, %(files)s, %(read)s, %(inserted)s, %(corrected)s, %(unchanged)s, %(rejected)s, %(notes)s,
        %(cells_left_empty)s, %(reasons)s)

-- name: record_refused
-- Store the rejected rows and the empty cells, at most `limit`, rows before cells.
INSERT INTO ops.rejected_rows (batch_id, file, line, column_name, reason, row_data, cell_only, city_id)
SELECT %(batch)s, f.name, r.line, r.column_name, r.reason, r.row_data, r.cell_only, c.id
FROM refused r JOIN staged_files f USING (file_no)
LEFT JOIN cities c ON lower(normalize(c.name, NFC)) = lower(normalize(btrim(
    r.row_data ->> CASE WHEN %(kind)s = 'cities' THEN 'name' ELSE 'city' END), NFC))
ORDER BY r.cell_only, r.file_no, r.line LIMIT %(limit)s

-- name: zones
-- The names of the time zones that the server knows.
SELECT name FROM pg_timezone_names

-- name: insert_city
-- Add a city (degrees north and east); no row if the name is in use.
INSERT INTO cities (name, latitude, longitude, timezone, country_code, subdivision)
VALUES (%(name)s, %(latitude)s, %(longitude)s, %(timezone)s, %(country_code)s, %(subdivision)s)
ON CONFLICT DO NOTHING

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
