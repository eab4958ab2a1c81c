-- name: try_lock
-- Take the lock for batches of a kind until the end of the transaction; false if another session has it.
SELECT pg_try_advisory_xact_lock(hashtext('energy_forecast ingest ' || %(kind)s))

-- name: wait_for_lock
-- Wait for the lock for batches of a kind.
SELECT pg_advisory_xact_lock(hashtext('energy_forecast ingest ' || %(kind)s))

-- name: is_newest
-- Whether no batch of a kind ended since this transaction began.
SELECT NOT EXISTS (
    SELECT FROM ops.ingest_batches WHERE kind = %(kind)s AND finished_at BETWEEN now() AND clock_timestamp())

-- name: create_staging
-- Create the transaction's tables: the numbered files and cities of a batch, the rows read, and the rows rejected.
-- Up to ten million rows are sorted and joined; the server's default of 4 MB is meant for many small queries
SET LOCAL work_mem = '64MB';
SET LOCAL maintenance_work_mem = '128MB';
CREATE TEMP TABLE staged_files (file_no integer PRIMARY KEY, name text NOT NULL) ON COMMIT DROP;
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
) ON COMMIT DROP;
-- One layout for all kinds: value_1 to value_4 are the kind's value columns in order, in kWh and kW or units of
-- weather.
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
) ON COMMIT DROP;
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
) ON COMMIT DROP;
-- The frequency of each distance between neighbouring rows, and how often at most it follows the same distance
CREATE TEMP TABLE gaps (
    city_no integer NOT NULL, gap interval NOT NULL, times bigint NOT NULL, follows bigint NOT NULL) ON COMMIT DROP;
CREATE TEMP TABLE repeated (LIKE staged) ON COMMIT DROP;
CREATE TEMP TABLE older_versions (LIKE staged) ON COMMIT DROP;
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
) ON COMMIT DROP;
CREATE TEMP TABLE rejected (
    file_no     integer NOT NULL,
    line        bigint NOT NULL,
    column_name text,
    reason      text NOT NULL,
    row_data    jsonb NOT NULL,
    cell_only   boolean NOT NULL DEFAULT false,
    -- Rejected by the client, which counted these rows and sends only as many as are stored
    by_client   boolean NOT NULL DEFAULT false
) ON COMMIT DROP

-- name: server_clock
-- The database's clock, the retention of a table, and the time before which retention removes its months (nulls:
-- unlimited).
SELECT clock_timestamp(), p.keep::text, date_trunc('month', now() - p.keep, 'UTC')
FROM (VALUES (1)) AS one LEFT JOIN ops.retention_policies p ON p.table_name = %(table)s AND p.by_month

-- name: add_files
-- Store the files of the batch, numbered from 0.
INSERT INTO staged_files SELECT position - 1, name FROM unnest(%(names)s::text[]) WITH ORDINALITY AS f (name, position)

-- name: add_cities
-- Store the cities of the batch, numbered from 0.
INSERT INTO staged_cities (city_no, city_id, name)
SELECT position - 1, id, name FROM unnest(%(ids)s::uuid[], %(names)s::text[]) WITH ORDINALITY AS c (id, name, position)

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

-- name: rejected_copy
-- Copy rows rejected while reading, and cells left empty.
COPY rejected (file_no, line, column_name, reason, row_data, cell_only, by_client) FROM STDIN (FORMAT csv)

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

-- name: stored_values
-- The stored values within the spans of some cities, one row per city.
-- Columns: number of the city, and the bytes of interval minutes, timestamps, available_at and values in hundredths
-- (kWh and kW, or units of weather).
SELECT p.city_no, c.minutes, c.times, c.available, c.value_1, c.value_2, c.value_3, c.value_4
FROM unnest(%(numbers)s::integer[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[]) AS p (city_no, first, last)
JOIN staged_cities k USING (city_no)
CROSS JOIN LATERAL (
    SELECT string_agg(int2send(v.interval_minutes), '') AS minutes,
           string_agg(timestamptz_send(v.timestamp), '') AS times,
           string_agg(timestamptz_send(v.available_at), '') AS available,
           string_agg(int8send((v.value_1 * 100)::bigint), '') AS value_1,
           string_agg(int8send(coalesce((v.value_2 * 100)::bigint, %(absent)s)), '') AS value_2,
           string_agg(int8send(coalesce((v.value_3 * 100)::bigint, %(absent)s)), '') AS value_3,
           string_agg(int8send(coalesce((v.value_4 * 100)::bigint, %(absent)s)), '') AS value_4
    FROM current_values v
    WHERE v.city_id = k.city_id AND v.timestamp BETWEEN p.first AND p.last
      -- Bounds over all cities let the planner skip the other months
      AND v.timestamp BETWEEN %(first)s AND %(last)s) AS c
WHERE c.times IS NOT NULL

-- name: lock_partitions
-- Take the lock for the creation of partitions until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtext('energy_forecast partitions'))

-- name: new_months
-- Those of the UTC months that have no partition and may be filled before they are attached.
SELECT month FROM unnest(%(months)s::timestamptz[]) AS month
WHERE month + interval '1 month' <= ops.months_loaded_before(%(table)s)
  AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace
                  AND relname = %(table)s || to_char(month AT TIME ZONE 'UTC', '"_y"YYYY"m"MM'))

-- name: begin_months
-- Create the tables for the rows of the months: their names in ops.
SELECT month, ops.begin_month(%(table)s, month) FROM unnest(%(months)s::timestamptz[]) AS month

-- name: attach_months
-- Attach the filled months as partitions of their table.
SELECT ops.attach_months(%(table)s, %(months)s)
