-- name: ensure_months
-- Create the missing partitions of these months.
SELECT ensure_month_partitions(%(table)s, month, month) FROM unnest(%(months)s::timestamptz[]) AS month

-- name: judge_differing
-- Judge the rows that add to the stored ones: new, a correction, an older version, or a repeat of a superseded value.
-- A corrected value with an earlier available_at is an older version: the value was available before the correction.
INSERT INTO differing
-- Two values cannot be available at the same time: a value with the available_at of the stored one is available from
-- now
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
       OR s.available_at < c.available_at AND EXISTS (
           SELECT FROM past_values p WHERE p.city_id = k.city_id AND p.timestamp = s.timestamp)

-- name: any_stored
-- Whether anything is stored within the span of a city's rows; if not, no row has to be looked up.
SELECT EXISTS (
    SELECT FROM spans p JOIN staged_cities k USING (city_no)
    CROSS JOIN LATERAL (
        SELECT FROM current_values c
        WHERE c.city_id = k.city_id AND c.timestamp BETWEEN p.first AND p.last
          AND c.timestamp BETWEEN %(first)s AND %(last)s LIMIT 1) stored)

-- name: add_older_versions
-- Add the superseded versions of this batch to the versions older than the stored rows.
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

-- name: reject_changed_forecasts
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
INSERT INTO rejected
SELECT file_no, line, NULL, 'other values are stored for this issue: a forecast that was issued is never changed',
       jsonb_strip_nulls(
           jsonb_build_object('city', name, 'timestamp', timestamp, 'issued_at', issued_at)
           || jsonb_object(%(values)s::text[], (ARRAY[value_1, value_2, value_3, value_4]::text[])[1:cardinality(%(values)s::text[])]))
FROM gone

-- name: reject_thinned_forecasts
-- Reject forecasts with lead times that retention has removed from their month.
WITH gone AS (
    DELETE FROM staged s USING staged_cities k, (
        SELECT range_start, range_end, min(kept_lead_hours) AS hours FROM ops.dropped_data
        WHERE table_name = 'weather_forecasts' AND kept_lead_hours IS NOT NULL
          AND range_end > %(first)s AND range_start <= %(last)s
        GROUP BY range_start, range_end) d
    WHERE k.city_no = s.city_no AND s.timestamp >= d.range_start AND s.timestamp < d.range_end
      AND s.timestamp - s.issued_at >= make_interval(hours => d.hours)
    RETURNING s.*, k.name, d.hours
)
INSERT INTO rejected
SELECT file_no, line, NULL, format('retention keeps only lead times below %%s h of this month', hours),
       jsonb_strip_nulls(
           jsonb_build_object('city', name, 'timestamp', timestamp, 'issued_at', issued_at)
           || jsonb_object(%(values)s::text[], (ARRAY[value_1, value_2, value_3, value_4]::text[])[1:cardinality(%(values)s::text[])]))
FROM gone

-- name: weather_forecasts_insert
-- Insert weather forecasts (degrees Celsius, percent, m/s, mm) that are not stored.
-- Not by NOT EXISTS: for an empty month the planner scans the table for each row, while it grows: 12 s of CPU for the
-- first 48,000 rows of 1,000 cities in place of 1 s.
INSERT INTO weather_forecasts (city_id, timestamp, issued_at, temperature, humidity, wind_speed, precipitation)
SELECT k.city_id, s.timestamp, s.issued_at, s.value_1, s.value_2, s.value_3, s.value_4
FROM staged s JOIN staged_cities k USING (city_no)
ORDER BY s.city_no, s.timestamp, s.issued_at
ON CONFLICT ON CONSTRAINT weather_forecast_key DO NOTHING

-- name: set_joins
-- Enable or disable hash and merge joins. With few staged rows, key lookups are faster.
-- The newest partitions have no statistics from which the planner could derive this.
SELECT set_config('enable_hashjoin', %(joins)s::text, true), set_config('enable_mergejoin', %(joins)s::text, true)

-- name: rejected_reasons
-- The rows that the database rejected: column, reason with values and numbers replaced by three dots, number of rows,
-- and one of the original reasons.
SELECT column_name, regexp_replace(reason, $$'[^']*'|[0-9][0-9:.-]*Z?( [0-9:]+Z)?$$, '...', 'g') AS words, count(*), min(reason)
FROM rejected WHERE NOT by_client GROUP BY column_name, words ORDER BY count(*) DESC, words

-- name: rejected_examples
-- The first rejected rows in file order.
SELECT f.name, r.line, r.column_name, r.reason FROM rejected r JOIN staged_files f USING (file_no) WHERE NOT r.cell_only
ORDER BY r.file_no, r.line LIMIT %(limit)s

-- name: drop_views
-- Remove the views of the stored rows, which would outlive the transaction.
DROP VIEW IF EXISTS current_values, past_values

-- name: record_batch
-- Record the batch in the ledger.
INSERT INTO ops.ingest_batches (id, kind, files, read, inserted, corrected, unchanged, rejected, notes, cells_left_empty, reasons)
VALUES (%(batch)s, %(kind)s, %(files)s, %(read)s, %(inserted)s, %(corrected)s, %(unchanged)s, %(rejected)s, %(notes)s,
        %(cells_left_empty)s, %(reasons)s)

-- name: record_rejected
-- Store the rejected rows and the empty cells, at most `limit`, rows before cells.
INSERT INTO ops.rejected_rows (batch_id, file, line, column_name, reason, row_data, cell_only, city_id)
SELECT %(batch)s, f.name, r.line, r.column_name, r.reason, r.row_data, r.cell_only, c.id
FROM rejected r JOIN staged_files f USING (file_no)
LEFT JOIN cities c ON lower(normalize(c.name, NFC)) = lower(normalize(btrim(
    r.row_data ->> CASE WHEN %(kind)s = 'cities' THEN 'name' ELSE 'city' END), NFC))
ORDER BY r.cell_only, r.file_no, r.line LIMIT %(limit)s

-- name: queue_checks
-- Queue the checks of a batch: by city, the first and last timestamp of its new and corrected rows. The bounds of all
-- rows of the batch count if each of them is new (`differing` is then empty, or rows were copied outside of it); the
-- bounds of stored values with a revised interval always count.
WITH compared AS (
    SELECT city_id, min(timestamp) AS first, max(timestamp) AS last FROM differing
    WHERE verdict IN ('new', 'correction') GROUP BY city_id
)
INSERT INTO ops.pending_checks (city_id, series, batch_id, first_timestamp, last_timestamp)
SELECT city_id, %(series)s, %(batch)s, min(first), max(last)
FROM (SELECT * FROM compared
      UNION ALL
      SELECT * FROM unnest(%(cities)s::uuid[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
      WHERE %(copied)s OR NOT EXISTS (SELECT FROM compared)
      UNION ALL
      SELECT * FROM unnest(%(revised_cities)s::uuid[], %(revised_firsts)s::timestamptz[],
                           %(revised_lasts)s::timestamptz[])) AS changed (city_id, first, last)
GROUP BY city_id
