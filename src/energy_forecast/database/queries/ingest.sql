-- name: create_staging
-- The session's own tables: the files and cities of a load by number, the rows read, and the rows refused.
-- Ten million rows are sorted and joined; the server's default of 4 MB is for many small questions at once
SET work_mem = '64MB';
SET maintenance_work_mem = '128MB';
CREATE TEMP TABLE staged_files (file_no integer PRIMARY KEY, name text NOT NULL);
CREATE TEMP TABLE staged_cities (
    city_no          integer PRIMARY KEY,
    city_id          uuid NOT NULL,
    name             text NOT NULL,
    interval_minutes smallint,
    -- Neither the rows nor the database said how long an interval is
    assumed          boolean NOT NULL DEFAULT false,
    -- The rows read and stored say too little of it to be sure
    provisional      boolean NOT NULL DEFAULT false,
    -- Many rows lie further apart than the interval, by another length that an interval may have
    mixed            boolean NOT NULL DEFAULT false,
    -- Some rows lie closer together than the interval is long
    overlapping      boolean NOT NULL DEFAULT false
);
-- One shape for all kinds: value_1 to value_4 are the kind's value columns in order, kWh and kW or weather's units.
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
    -- As the row states it; null: the city's
    interval_minutes smallint,
    -- Made by the client, in bulk; a row that the database puts together itself has none
    id           uuid
);
-- The span of each city's rows, and the least time from a timestamp to its available_at
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
-- How often neighbouring rows of a city lie how far apart, and how often, at most, after others just as far
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
    -- By the client, which has counted these, and sends only as many as are kept
    by_client   boolean NOT NULL DEFAULT false
)

-- name: server_clock
-- The database's clock now; how long a table is kept, and the moment before which retention takes its months (nulls: for ever).
SELECT clock_timestamp(), p.keep::text, date_trunc('month', now() - p.keep, 'UTC')
FROM (VALUES (1)) AS one LEFT JOIN ops.retention_policies p ON p.table_name = %(table)s AND p.by_month

-- name: add_files
-- The files of the load, numbered from 0.
INSERT INTO staged_files SELECT position - 1, name FROM unnest(%(names)s::text[]) WITH ORDINALITY AS f (name, position)

-- name: add_cities
-- The cities of the load, numbered.
INSERT INTO staged_cities (city_no, city_id, name)
SELECT * FROM unnest(%(numbers)s::integer[], %(ids)s::uuid[], %(names)s::text[])

-- name: consumption_copy
-- Rows read: kWh in the interval, and kW.
COPY staged (file_no, line, city_no, id, timestamp, available_at, interval_minutes, value_1, value_2) FROM STDIN (FORMAT binary)

-- name: weather_copy
-- Rows read: degrees Celsius, percent, m/s, mm.
COPY staged (file_no, line, city_no, id, timestamp, available_at, interval_minutes, value_1, value_2, value_3, value_4)
FROM STDIN (FORMAT binary)

-- name: weather_forecasts_copy
-- Rows read: degrees Celsius, percent, m/s, mm.
COPY staged (file_no, line, city_no, id, timestamp, issued_at, value_1, value_2, value_3, value_4)
FROM STDIN (FORMAT binary)

-- name: refused_copy
-- Rows refused while reading, and cells left empty.
COPY refused (file_no, line, column_name, reason, row_data, cell_only, by_client) FROM STDIN (FORMAT csv)

-- name: index_staged
-- One order serves what the files' own order did not tell: gaps, spans and repeated keys.
CREATE INDEX staged_key ON staged (city_no, timestamp, issued_at);
ANALYZE staged;
INSERT INTO spans
SELECT city_no, min(timestamp), max(timestamp), min(available_at - timestamp), bool_and(interval_minutes IS NOT NULL),
       coalesce(bool_or(available_at < timestamp + make_interval(mins => interval_minutes)), false)
FROM staged GROUP BY city_no;
ANALYZE spans

-- name: analyze_staged
-- Tells the planner what was staged; the client has told the spans.
ANALYZE staged, spans

-- name: add_spans
-- The spans that the client found while it read.
INSERT INTO spans
SELECT * FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[], %(lags)s::interval[],
                     %(stated)s::boolean[], %(early)s::boolean[])

-- name: add_gaps
-- The gaps that the client found while it read.
INSERT INTO gaps SELECT * FROM unnest(%(numbers)s::integer[], %(gaps)s::interval[], %(times)s::bigint[], %(follows)s::bigint[])

-- name: find_gaps
-- The gaps between the rows staged.
INSERT INTO gaps
SELECT city_no, gap, count(*), count(*) FILTER (WHERE gap = before)
FROM (SELECT city_no, gap, lag(gap) OVER (PARTITION BY city_no ORDER BY timestamp) AS before
      FROM (SELECT city_no, timestamp, timestamp - lag(timestamp) OVER (PARTITION BY city_no ORDER BY timestamp) AS gap
            FROM (SELECT DISTINCT city_no, timestamp FROM staged) AS t) AS g) AS b
WHERE gap IS NOT NULL GROUP BY city_no, gap

-- name: add_provisional_gaps
-- The gaps between the stored values of cities whose interval length is provisional, and to the first and the last row read:
-- together with the rows read they are judged as if all had been read at once.
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
-- Stored consumption in the shape of `staged`: the current values and the superseded ones.
CREATE TEMP VIEW current_values AS
SELECT city_id, timestamp, available_at, interval_minutes, consumption_kwh AS value_1, peak_demand_kw AS value_2,
       NULL::numeric AS value_3, NULL::numeric AS value_4
FROM energy_consumption;
CREATE TEMP VIEW past_values AS
SELECT city_id, timestamp, available_at, interval_minutes, consumption_kwh AS value_1, peak_demand_kw AS value_2,
       NULL::numeric AS value_3, NULL::numeric AS value_4
FROM energy_consumption_revisions

-- name: weather_views
-- Stored weather in the shape of `staged`: the current values and the superseded ones.
CREATE TEMP VIEW current_values AS
SELECT city_id, timestamp, available_at, interval_minutes, temperature AS value_1, humidity AS value_2,
       wind_speed AS value_3, precipitation AS value_4
FROM weather_data;
CREATE TEMP VIEW past_values AS
SELECT city_id, timestamp, available_at, interval_minutes, temperature AS value_1, humidity AS value_2,
       wind_speed AS value_3, precipitation AS value_4
FROM weather_data_revisions

-- name: give_interval
-- Every city has the interval length that the user named (minutes).
UPDATE staged_cities k
SET interval_minutes = %(interval_minutes)s::integer,
    overlapping = EXISTS (
        SELECT FROM gaps c JOIN spans p USING (city_no)
        WHERE c.city_no = k.city_no AND c.gap < make_interval(mins => %(interval_minutes)s::integer) AND NOT p.stated)

-- name: find_intervals
-- Interval length of each city read (minutes): its most common gap, what it has had so far, or 60. Of rows at random, of
-- which no gap is every second one, the shortest gap if all others are multiples of it. It is provisional until a day's worth
-- of rows has shown it, or a hundred show that they are uneven.
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
    -- A few rows with holes between them say less than the city's history, unless they lie closer than it allows
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
          -- Below ten minutes only what lies closer than the interval: further apart, it is every second value that is missing
          AND (c.gap IN (interval '10 minutes', interval '12 minutes', interval '15 minutes', interval '20 minutes',
                         interval '30 minutes', interval '60 minutes')
               OR (c.gap < f.told
                   AND c.gap IN (interval '1 minute', interval '2 minutes', interval '3 minutes', interval '4 minutes',
                                 interval '5 minutes', interval '6 minutes'))))
FROM chosen f WHERE f.city_no = k.city_no

-- name: wide_cities
-- Cities whose rows lie at a distance that no interval has: the distance (minutes), and whether it is even. Where nothing is
-- stored, if no two of three rows or more are an hour apart or less. Else rows may be corrections of single values, so only
-- even distances count: of a week of rows, of a stretch of 24, or of 7 that are days apart. And distances that do not divide
-- the hour, of values that are added up.
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
-- Refuses stretches of a day's worth of rows, 24, whose distance says another interval than the city's: one would be wrong.
WITH gaps AS (
    SELECT s.city_no, s.timestamp, lead(s.timestamp) OVER city - s.timestamp AS gap
    FROM staged s JOIN staged_cities k USING (city_no) WHERE k.mixed
    WINDOW city AS (PARTITION BY s.city_no ORDER BY s.timestamp)
), islands AS (
    SELECT g.*, row_number() OVER (PARTITION BY city_no ORDER BY timestamp)
              - row_number() OVER (PARTITION BY city_no, gap ORDER BY timestamp) AS island
    FROM gaps g WHERE gap > interval '0'
), stretches AS (
    -- The last row of a city has nothing after it, and is told by what comes before
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
-- Whether there are rows to refuse because their distance says another interval; and whether because they overlap.
SELECT coalesce(bool_or(mixed), false), coalesce(bool_or(overlapping), false) FROM staged_cities

-- name: refuse_overlapping
-- Refuses rows whose interval overlaps that of the row before or after: where three of four rows of a city begin at the same
-- minutes, or what is stored does, those that begin at others. Of values that are added up (kWh) also what cannot be told
-- apart: both where there are no such minutes, and rows at even distances that may be of another interval.
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
                   WHEN in_place IS NULL THEN 'which of the two is wrong cannot be told'
                   ELSE format('the other rows of %%s do not begin at this minute', name) END),
       jsonb_strip_nulls(
           jsonb_build_object('city', name, 'timestamp', timestamp, 'available_at', available_at)
           || jsonb_object(%(values)s::text[], (ARRAY[value_1, value_2, value_3, value_4]::text[])[1:cardinality(%(values)s::text[])]))
FROM gone

-- name: any_early
-- Whether there are rows that could not be known yet.
SELECT EXISTS (
    SELECT FROM spans p JOIN staged_cities k USING (city_no)
    WHERE p.early OR p.last + make_interval(mins => CASE WHEN p.stated THEN 60 ELSE k.interval_minutes END) > %(now)s
       OR NOT p.stated AND p.lag < make_interval(mins => k.interval_minutes))

-- name: assumed_cities
-- The cities whose interval length nothing told.
SELECT name FROM staged_cities WHERE assumed ORDER BY name

-- name: refuse_early
-- Refuses what could not be known yet: intervals that have not ended, and values known before their interval's end.
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
-- Takes out every row whose key occurs more than once in the load.
WITH keys AS MATERIALIZED (
    SELECT city_no, timestamp, issued_at FROM staged GROUP BY city_no, timestamp, issued_at HAVING count(*) > 1
), gone AS (
    DELETE FROM staged s USING keys k
    WHERE s.city_no = k.city_no AND s.timestamp = k.timestamp AND s.issued_at = k.issued_at
    RETURNING s.*
)
INSERT INTO repeated SELECT * FROM gone

-- name: judge_repeated
-- Per repeated key: `same` values, a `history` of versions with moments of their own, or a `conflict`.
CREATE TEMP TABLE repeated_verdicts AS
WITH versions AS (
    -- An empty field says nothing, so it differs from nothing
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
-- Refuses all rows of a key whose values contradict each other; which one is right is not knowable.
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
-- Serves: the other rows of a key.
CREATE INDEX repeated_key ON repeated (city_no, timestamp, issued_at)

-- name: restore_same
-- Puts one row back for each key whose rows agree; known as early as the earliest of them claims.
INSERT INTO staged
SELECT (array_agg(r.file_no ORDER BY r.file_no, r.line))[1], (array_agg(r.line ORDER BY r.file_no, r.line))[1],
       city_no, timestamp, issued_at, min(r.available_at), max(r.value_1), max(r.value_2), max(r.value_3), max(r.value_4),
       max(r.interval_minutes)
FROM repeated r JOIN repeated_verdicts v USING (city_no, timestamp, issued_at)
WHERE v.verdict = 'same'
GROUP BY city_no, timestamp, issued_at

-- name: restore_histories
-- Puts the newest version of each history back; the ones before it go to older_versions. Returns how many went there.
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
-- The UTC months of the rows read, and the first and last timestamp; nulls when there are none.
SELECT array_agg(DISTINCT date_trunc('month', timestamp, 'UTC') ORDER BY date_trunc('month', timestamp, 'UTC')),
       min(timestamp), max(timestamp)
FROM (SELECT timestamp FROM staged UNION ALL SELECT timestamp FROM older_versions) AS s

-- name: wait_for_locks
-- How long this transaction waits for a lock at most.
SELECT set_config('lock_timeout', %(time)s::text, true)

-- name: ensure_months
-- Makes the missing partitions of these months.
SELECT ensure_month_partitions(%(table)s, month, month) FROM unnest(%(months)s::timestamptz[]) AS month

-- name: known_values
-- What is stored within the span of some cities: number of the city, and arrays of minutes of the interval, timestamps,
-- moments of availability, and values in hundredths (kWh and kW, or weather's units), all of 8 bytes. One row a city.
SELECT p.city_no, c.minutes, c.times, c.available, c.value_1, c.value_2, c.value_3, c.value_4
FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[]) AS p (city_no, first, last)
JOIN staged_cities k USING (city_no)
CROSS JOIN LATERAL (
    SELECT array_agg(v.interval_minutes::bigint) AS minutes, array_agg(v.timestamp) AS times,
           array_agg(v.available_at) AS available,
           array_agg((v.value_1 * 100)::bigint) AS value_1,
           array_agg(coalesce((v.value_2 * 100)::bigint, %(absent)s::bigint)) AS value_2,
           array_agg(coalesce((v.value_3 * 100)::bigint, %(absent)s::bigint)) AS value_3,
           array_agg(coalesce((v.value_4 * 100)::bigint, %(absent)s::bigint)) AS value_4
    FROM current_values v
    WHERE v.city_id = k.city_id AND v.timestamp BETWEEN p.first AND p.last
      -- Of all cities: the planner leaves out the other months
      AND v.timestamp BETWEEN %(first)s AND %(last)s) AS c
WHERE c.times IS NOT NULL

-- name: months_there
-- The UTC months of a table whose partitions exist, and the moment before which a month has to end to be filled beside it.
SELECT coalesce((
           SELECT array_agg(to_timestamp(right(relname, 7), 'YYYY"m"MM')) FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relname ~ ('^' || %(table)s::text || '_y[0-9]{4}m[0-9]{2}$')), '{}'),
       ops.months_loaded_before(%(table)s)

-- name: begin_month
-- Makes the table that a month's rows are copied into; its name in ops.
SELECT ops.begin_month(%(table)s, %(month)s)

-- name: attach_months
-- Makes the months that were filled partitions of their table.
SELECT ops.attach_months(%(table)s, %(months)s)

-- name: found_intervals
-- The interval length (minutes) of each city of which rows were read that do not state theirs.
SELECT k.city_no, k.interval_minutes FROM staged_cities k JOIN spans s USING (city_no) WHERE NOT s.stated

-- name: consumption_levels
-- By city: how many positive values are stored within 60 days of its first new one, and the mean of log10(kWh a minute).
SELECT p.city_no, count(*), avg(log(v.value_1 / v.interval_minutes))::float8
FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[]) AS p (city_no, first)
JOIN staged_cities k USING (city_no)
JOIN current_values v ON v.city_id = k.city_id
WHERE v.timestamp BETWEEN p.first - interval '60 days' AND p.first + interval '60 days' AND v.value_1 > 0
GROUP BY p.city_no

-- name: weather_levels
-- By city: how many temperatures are stored within 30 days of its first new one, and their mean, degrees Celsius.
SELECT p.city_no, count(*), avg(v.temperature)::float8
FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[]) AS p (city_no, first)
JOIN staged_cities k USING (city_no)
JOIN weather_data v ON v.city_id = k.city_id
WHERE v.timestamp BETWEEN p.first - interval '30 days' AND p.first + interval '30 days'
GROUP BY p.city_no

-- name: lock_kind
-- One merge at a time for each kind, until the end of the session.
SELECT pg_advisory_lock(hashtext('energy_forecast ingest ' || %(kind)s))

-- name: judge_differing
-- The rows that add to what is stored: new, a correction, an older version (of a corrected value also with the value as
-- stored, which then was known earlier), or a repeat of a superseded value.
INSERT INTO differing
-- Another value that claims the moment of the stored one cannot have been known then too: it is known from now
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
       -- An empty field says nothing: it is no reason to forget what is stored
       OR s.value_2 IS NOT NULL AND s.value_2 IS DISTINCT FROM c.value_2
       OR s.value_3 IS NOT NULL AND s.value_3 IS DISTINCT FROM c.value_3
       OR s.value_4 IS NOT NULL AND s.value_4 IS DISTINCT FROM c.value_4
       OR c.interval_minutes <> coalesce(s.interval_minutes, CASE WHEN %(interval_given)s THEN k.interval_minutes END)
       OR s.available_at < c.available_at AND EXISTS (
           SELECT FROM past_values p WHERE p.city_id = k.city_id AND p.timestamp = s.timestamp)

-- name: any_stored
-- Whether anything is stored within the span of a city's rows; where nothing is, no row has to be looked for.
SELECT EXISTS (
    SELECT FROM spans p JOIN staged_cities k USING (city_no)
    CROSS JOIN LATERAL (
        SELECT FROM current_values c WHERE c.city_id = k.city_id AND c.timestamp BETWEEN p.first AND p.last LIMIT 1) stored)

-- name: add_older_versions
-- Joins the versions before the newest of this load to those older than what is stored.
INSERT INTO differing
SELECT k.city_id, o.timestamp, o.available_at, coalesce(o.interval_minutes, k.interval_minutes), o.value_1, o.value_2, o.value_3, o.value_4, o.id, 'older'
FROM older_versions o JOIN staged_cities k USING (city_no)

-- name: count_differing
-- How many rows of each verdict; of the corrections also how many came without available_at.
SELECT verdict, count(*), count(*) FILTER (WHERE available_at IS NULL) FROM differing WHERE verdict <> 'new' GROUP BY verdict

-- name: forget_known_versions
-- Leaves out the older versions that are stored already.
DELETE FROM differing d
WHERE d.verdict = 'older' AND EXISTS (
    SELECT FROM (
        SELECT * FROM past_values p WHERE p.city_id = d.city_id AND p.timestamp = d.timestamp
        UNION ALL
        SELECT * FROM current_values c WHERE c.city_id = d.city_id AND c.timestamp = d.timestamp) AS known
    WHERE known.available_at = d.available_at AND known.value_1 = d.value_1
      AND (d.value_2 IS NULL OR d.value_2 = known.value_2) AND (d.value_3 IS NULL OR d.value_3 = known.value_3)
      AND (d.value_4 IS NULL OR d.value_4 = known.value_4))

-- name: consumption_keep_older
-- Keeps older versions of consumption (kWh, kW) as history.
INSERT INTO energy_consumption_revisions
    (city_id, timestamp, consumption_kwh, peak_demand_kw, available_at, interval_minutes)
SELECT city_id, timestamp, value_1, value_2, available_at, interval_minutes FROM differing WHERE verdict = 'older'

-- name: weather_keep_older
-- Keeps older versions of weather (degrees Celsius, percent, m/s, mm) as history.
INSERT INTO weather_data_revisions
    (city_id, timestamp, temperature, humidity, wind_speed, precipitation, available_at, interval_minutes)
SELECT city_id, timestamp, value_1, value_2, value_3, value_4, available_at, interval_minutes
FROM differing WHERE verdict = 'older'

-- name: consumption_correct
-- Corrects consumption (kWh, kW); the trigger keeps the old value. Without a moment, it is known from now.
UPDATE energy_consumption c
SET consumption_kwh = d.value_1, peak_demand_kw = coalesce(d.value_2, c.peak_demand_kw),
    available_at = coalesce(d.available_at, greatest(now(), c.available_at)), interval_minutes = d.interval_minutes
FROM differing d
WHERE d.verdict = 'correction' AND c.city_id = d.city_id AND c.timestamp = d.timestamp

-- name: weather_correct
-- Corrects weather (degrees Celsius, percent, m/s, mm); the trigger keeps the old value.
UPDATE weather_data c
SET temperature = d.value_1, humidity = coalesce(d.value_2, c.humidity),
    wind_speed = coalesce(d.value_3, c.wind_speed), precipitation = coalesce(d.value_4, c.precipitation),
    available_at = coalesce(d.available_at, greatest(now(), c.available_at)), interval_minutes = d.interval_minutes
FROM differing d
WHERE d.verdict = 'correction' AND c.city_id = d.city_id AND c.timestamp = d.timestamp

-- name: insert_staged
-- Inserts the rows staged: all, where nothing is stored within their spans, or those found to be new.
SELECT ops.insert_staged(%(kind)s, %(only_new)s)

-- name: provisional_values
-- Stored values whose provisional interval is not the length that the rows show (minutes): by city its number, how many, the
-- first and the last.
SELECT k.city_no, k.interval_minutes, count(*), min(v.timestamp), max(v.timestamp)
FROM ops.provisional_intervals r
JOIN staged_cities k ON k.city_id = r.city_id
JOIN spans p ON p.city_no = k.city_no AND NOT p.stated
JOIN current_values v ON v.city_id = r.city_id AND v.timestamp BETWEEN r.first_timestamp AND r.last_timestamp
WHERE r.kind = %(kind)s AND v.interval_minutes <> k.interval_minutes
GROUP BY k.city_no, k.interval_minutes ORDER BY k.city_no

-- name: consumption_revise_intervals
-- Gives those values of a city the length that the rows show (minutes). It is known from now.
UPDATE energy_consumption c
SET interval_minutes = k.interval_minutes, available_at = greatest(now(), c.available_at)
FROM staged_cities k JOIN ops.provisional_intervals r USING (city_id)
WHERE k.city_no = %(city_no)s AND r.kind = 'consumption' AND c.city_id = k.city_id
  AND c.timestamp BETWEEN %(first)s AND %(last)s AND c.timestamp BETWEEN r.first_timestamp AND r.last_timestamp
  AND c.interval_minutes <> k.interval_minutes

-- name: weather_revise_intervals
-- Gives those values of a city the length that the rows show (minutes). It is known from now.
UPDATE weather_data c
SET interval_minutes = k.interval_minutes, available_at = greatest(now(), c.available_at)
FROM staged_cities k JOIN ops.provisional_intervals r USING (city_id)
WHERE k.city_no = %(city_no)s AND r.kind = 'weather' AND c.city_id = k.city_id
  AND c.timestamp BETWEEN %(first)s AND %(last)s AND c.timestamp BETWEEN r.first_timestamp AND r.last_timestamp
  AND c.interval_minutes <> k.interval_minutes

-- name: forget_provisional
-- Forgets the cities whose interval length is not provisional any more.
DELETE FROM ops.provisional_intervals r USING staged_cities k, spans p
WHERE r.city_id = k.city_id AND r.kind = %(kind)s AND p.city_no = k.city_no AND NOT p.stated AND NOT k.provisional

-- name: keep_provisional
-- Remembers the cities whose interval length is provisional, and the span of its values.
INSERT INTO ops.provisional_intervals AS r (city_id, kind, first_timestamp, last_timestamp)
SELECT k.city_id, %(kind)s, p.first, p.last FROM staged_cities k JOIN spans p USING (city_no) WHERE k.provisional
ON CONFLICT (city_id, kind) DO UPDATE
SET first_timestamp = least(r.first_timestamp, excluded.first_timestamp),
    last_timestamp = greatest(r.last_timestamp, excluded.last_timestamp)

-- name: refuse_changed_forecasts
-- Refuses forecasts that say something else than the stored ones of the same issue.
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
-- Inserts forecasts of the weather (degrees Celsius, percent, m/s, mm) that are not stored.
INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature, humidity, wind_speed, precipitation)
SELECT k.city_id, s.timestamp, s.issued_at, s.value_1, s.value_2, s.value_3, s.value_4
FROM staged s JOIN staged_cities k USING (city_no)
WHERE NOT EXISTS (
    SELECT FROM weather_forecasts f
    WHERE f.city_id = k.city_id AND f.timestamp = s.timestamp AND f.issued_at = s.issued_at
      AND f.timestamp BETWEEN %(first)s AND %(last)s)
ORDER BY s.city_no, s.timestamp, s.issued_at

-- name: set_joins
-- Off: where few rows were staged beside what is stored, each is looked up by its key. The newest partitions have no
-- statistics that would tell the planner so.
SELECT set_config('enable_hashjoin', %(joins)s::text, true), set_config('enable_mergejoin', %(joins)s::text, true)

-- name: count_staged
-- Rows that are still to be merged.
SELECT count(*) FROM staged

-- name: refused_reasons
-- How many rows the database refused for each column and reason, values and numbers in it replaced by three dots; and one of
-- these reasons as it was.
SELECT column_name, regexp_replace(reason, $$'[^']*'|[0-9][0-9:.-]*Z?( [0-9:]+Z)?$$, '...', 'g') AS words, count(*), min(reason)
FROM refused WHERE NOT by_client GROUP BY column_name, words ORDER BY count(*) DESC, words

-- name: refused_examples
-- The first refused rows, in the files' order.
SELECT f.name, r.line, r.column_name, r.reason FROM refused r JOIN staged_files f USING (file_no) WHERE NOT r.cell_only
ORDER BY r.file_no, r.line LIMIT %(limit)s

-- name: record_batch
-- Writes the load into the ledger.
INSERT INTO ops.ingest_batches (id, kind, files, read, inserted, corrected, unchanged, rejected, notes, cells_left_empty, reasons)
VALUES (%(batch)s, %(kind)s, %(files)s, %(read)s, %(inserted)s, %(corrected)s, %(unchanged)s, %(rejected)s, %(notes)s,
        %(cells_left_empty)s, %(reasons)s)

-- name: record_refused
-- Keeps the refused rows and the empty cells, at most so many, rows before cells.
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
-- Adds a city (degrees north and east); no row when the name is taken.
INSERT INTO cities (name, latitude, longitude, timezone, country_code, subdivision)
VALUES (%(name)s, %(latitude)s, %(longitude)s, %(timezone)s, %(country_code)s, %(subdivision)s)
ON CONFLICT DO NOTHING

-- name: update_city
-- Corrects a city (degrees north and east).
UPDATE cities
SET latitude = %(latitude)s, longitude = %(longitude)s, timezone = %(timezone)s, country_code = %(country_code)s,
    subdivision = %(subdivision)s
WHERE name = %(name)s

-- name: attached
-- How many values (of load and weather), models and scores belong to a city.
SELECT (SELECT count(*) FROM energy_consumption WHERE city_id = c.id) + (SELECT count(*) FROM weather_data WHERE city_id = c.id),
       (SELECT count(*) FROM model_artifacts WHERE city_id = c.id),
       (SELECT count(*) FROM forecast_scores WHERE city_id = c.id)
FROM cities c WHERE c.name = %(name)s

-- name: stored_city
-- What is stored of the city that is known by a name (degrees north and east, exactly as stored).
SELECT name, latitude, longitude, timezone, country_code, subdivision FROM cities
WHERE lower(normalize(name, NFC)) = lower(normalize(%(name)s, NFC))

-- name: stored_cities
-- What is stored of every city (degrees north and east, exactly as stored).
SELECT name, latitude, longitude, timezone, country_code, subdivision FROM cities
