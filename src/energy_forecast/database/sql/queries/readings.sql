-- name: consumption
-- The load of a city (kWh) in the intervals that start in [first, end), as known at a time, in order of time.
SELECT c.timestamp, c.timestamp + make_interval(mins => c.interval_minutes) AS interval_end, c.consumption_kwh::float8,
       c.peak_demand_kw::float8, c.interval_minutes::integer, c.interval_minutes::integer AS minutes_known, c.available_at
FROM consumption_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s) c
ORDER BY c.timestamp

-- name: consumption_by_period
-- As consumption, summed (peak demand: highest) over hours of the city or its local days. Without OFFSET 0 the phase is computed for each row.
SELECT p.start, p.ending, sum(p.consumption_kwh)::float8, max(p.peak_demand_kw)::float8,
       (extract(epoch FROM p.ending - p.start) / 60)::integer, sum(p.interval_minutes)::integer, max(p.available_at)
FROM (
    SELECT c.*, CASE WHEN %(resolution)s = 'hour' THEN b.hour + interval '1 hour'
                ELSE date_trunc('day', b.midnight AT TIME ZONE %(zone)s + interval '1 day') AT TIME ZONE %(zone)s END AS ending,
           CASE WHEN %(resolution)s = 'hour' THEN b.hour ELSE b.midnight END AS start
    FROM consumption_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s) c
    CROSS JOIN (SELECT timestamptz '2000-01-01 00:00:00+00' + make_interval(mins => load_phase_as_of(%(city)s, %(as_of)s)) AS phase OFFSET 0) o
    CROSS JOIN LATERAL (SELECT date_bin('1 hour', c.timestamp, o.phase) AS hour,
                               date_trunc('day', c.timestamp, %(zone)s) AS midnight) b) p
GROUP BY p.start, p.ending
ORDER BY p.start

-- name: revisions
-- All versions of the load of a city (kWh) in intervals in [first, end) that have more than one, in order of time and recording.
WITH replaced AS MATERIALIZED (
    SELECT r.timestamp, r.consumption_kwh, r.peak_demand_kw, r.interval_minutes, r.available_at, r.created_at, r.superseded_at
    FROM energy_consumption_revisions r
    WHERE r.city_id = %(city)s AND r.timestamp >= %(first)s AND r.timestamp < %(end)s)
SELECT v.timestamp, v.consumption_kwh::float8, v.peak_demand_kw::float8, v.interval_minutes::integer, v.available_at, v.created_at,
       v.superseded_at
FROM (
    SELECT * FROM replaced
    UNION ALL
    SELECT c.timestamp, c.consumption_kwh, c.peak_demand_kw, c.interval_minutes, c.available_at, c.created_at, NULL
    FROM energy_consumption c
    WHERE c.city_id = %(city)s AND c.timestamp >= %(first)s AND c.timestamp < %(end)s
      AND c.timestamp IN (SELECT r.timestamp FROM replaced r)) v
ORDER BY v.timestamp, v.available_at, v.created_at

-- name: weather
-- The observed weather of a city in the intervals that start in [first, end), as known at a time, in order of time.
SELECT w.timestamp, w.timestamp + make_interval(mins => w.interval_minutes) AS interval_end, w.temperature::float8, w.humidity::float8,
       w.wind_speed::float8, w.precipitation::float8, w.interval_minutes::integer, w.available_at
FROM weather_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s) w
ORDER BY w.timestamp

-- name: weather_forecast
-- The last weather forecast of a city for each hour in [first, end) that was issued by a time, in order of time.
SELECT w.timestamp, w.timestamp + interval '1 hour' AS interval_end, w.issued_at, w.temperature::float8, w.humidity::float8,
       w.wind_speed::float8, w.precipitation::float8
FROM weather_forecast_as_of(%(city)s, %(as_of)s, %(first)s, %(end)s) w
ORDER BY w.timestamp

-- name: served_run
-- The run that serves a city at a time (null: now); no row without the city, and null without a run.
SELECT c.id, s.run_id
FROM cities c LEFT JOIN LATERAL served_forecast(c.id, coalesce(%(as_of)s, now()), %(model)s, %(purpose)s) s ON true
WHERE c.name = %(name)s

-- name: served_forecast
-- The forecast that serves a city at a time (null: now), kWh, with arrays as bytes; no row without the city, and nulls without a run.
SELECT c.id AS city_id, c.name AS city, c.timezone, coalesce(%(as_of)s, now()) AS as_of, s.run_id, s.issued_at, s.recorded_at, s.model, s.version, s.purpose, s.weather, s.champion, s.fallback_level,
       s.notes, s.quantile_levels, s.interval_minutes, s.first_timestamp, array_send(s.predicted) AS predicted,
       array_send(s.quantiles) AS quantiles, s.issued_before
FROM cities c LEFT JOIN LATERAL served_forecast(c.id, coalesce(%(as_of)s, now()), %(model)s, %(purpose)s) s ON true
WHERE c.name = %(name)s

-- name: served_forecasts
-- The forecasts that serve the cities of the reader at a time, as served_forecast, by name.
SELECT c.name AS city, s.run_id, s.issued_at, s.recorded_at, s.model, s.version, s.purpose, s.weather, s.champion, s.fallback_level,
       s.notes, s.quantile_levels, s.interval_minutes, s.first_timestamp, array_send(s.predicted) AS predicted,
       array_send(s.quantiles) AS quantiles
FROM cities c CROSS JOIN LATERAL served_forecast(c.id, %(as_of)s, %(model)s) s
ORDER BY c.name

-- name: overview
-- For each city of the reader at a time: the last complete hour of load (kWh) of three days, the forecast that was in use at its start, and the one in use now, with arrays as bytes.
SELECT c.name AS city, c.timezone, l.hour, l.consumption_kwh, l.known_until, b.predicted AS predicted_then, b.q05 AS low_then, b.q95 AS high_then, s.run_id,
       s.issued_at, s.issued_before, s.model, s.version, s.purpose, s.champion, s.fallback_level, s.notes, s.quantile_levels, s.interval_minutes,
       s.first_timestamp, array_send(s.predicted) AS predicted, array_send(s.quantiles) AS quantiles
FROM cities c
CROSS JOIN LATERAL (SELECT timestamptz '2000-01-01 00:00:00+00' + make_interval(mins => load_phase_as_of(c.id, %(as_of)s)) AS phase OFFSET 0) o
LEFT JOIN LATERAL (
    SELECT h.hour, h.consumption_kwh, h.known_until
    FROM (SELECT date_bin('1 hour', v.timestamp, o.phase) AS hour,
                 sum(v.consumption_kwh)::float8 AS consumption_kwh, sum(v.interval_minutes) AS minutes,
                 max(max(v.timestamp + make_interval(mins => v.interval_minutes))) OVER () AS known_until
          FROM consumption_as_of(c.id, %(as_of)s, %(as_of)s::timestamptz - interval '3 days', %(as_of)s) v GROUP BY 1) h
    WHERE h.minutes = 60 ORDER BY h.hour DESC LIMIT 1) l ON true
LEFT JOIN LATERAL served_forecast(c.id, %(as_of)s, NULL, %(purpose)s) s ON true
LEFT JOIN LATERAL (
    SELECT t.predicted[p.place] AS predicted,
           t.quantiles[(p.place - 1) * cardinality(t.quantile_levels) + array_position(t.quantile_levels, 0.05::float8)]::float8 AS q05,
           t.quantiles[(p.place - 1) * cardinality(t.quantile_levels) + array_position(t.quantile_levels, 0.95::float8)]::float8 AS q95
    FROM served_forecast(c.id, l.hour, NULL, %(purpose)s) t
    CROSS JOIN LATERAL (SELECT (extract(epoch FROM l.hour - t.first_timestamp) / 3600)::integer + 1 AS place) p
    WHERE t.interval_minutes = 60) b ON true
ORDER BY c.name

-- name: issued_forecast
-- The forecast of a run for a city, kWh, as served_forecast; no row without one.
SELECT c.name AS city, v.run_id, v.issued_at, v.created_at AS recorded_at, m.name AS model, m.version, r.purpose, r.weather,
       EXISTS (SELECT FROM model_promotions p
               WHERE p.city_id = c.id AND p.model_id = v.model_id AND p.during @> v.created_at) AS champion,
       (n.notes ->> 'level')::integer AS fallback_level, ARRAY(SELECT jsonb_array_elements_text(n.notes -> 'notes')) AS notes,
       r.quantile_levels, v.interval_minutes::integer, v.first_timestamp, array_send(v.predicted_consumption) AS predicted,
       array_send(v.quantiles) AS quantiles
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id JOIN models m ON m.id = v.model_id JOIN cities c ON c.id = v.city_id
CROSS JOIN LATERAL (SELECT run_notes(v.run_id, v.city_id) AS notes) n
WHERE v.city_id = %(city)s AND v.run_id = %(run)s

-- name: forecasts
-- Issued forecasts of a city, the last issue first, after a position.
SELECT v.run_id, v.issued_at, v.created_at AS recorded_at, m.name AS model, m.version, r.purpose, r.weather, v.first_timestamp AS first,
       v.last_timestamp + make_interval(mins => v.interval_minutes) AS end, v.interval_minutes::integer
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id JOIN models m ON m.id = v.model_id
WHERE v.city_id = %(city)s AND (%(purpose)s::text IS NULL OR r.purpose = %(purpose)s) AND (%(model)s::text IS NULL OR m.name = %(model)s)
  AND v.issued_at >= %(first)s AND v.issued_at < %(end)s
  AND (%(before)s::timestamptz IS NULL OR (v.issued_at, v.run_id) < (%(before)s, %(before_run)s::uuid))
ORDER BY v.issued_at DESC, v.run_id DESC
LIMIT %(limit)s

-- name: vintages
-- The forecasts of a city that were issued in [first, end), kWh, with arrays as bytes, in the order of their issue.
SELECT v.run_id::text AS city, v.run_id, v.issued_at, v.created_at AS recorded_at, m.name AS model, m.version, r.purpose, r.quantile_levels,
       v.interval_minutes::integer, v.first_timestamp, array_send(v.predicted_consumption) AS predicted, array_send(v.quantiles) AS quantiles
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id JOIN models m ON m.id = v.model_id
WHERE v.city_id = %(city)s AND v.issued_at >= %(first)s AND v.issued_at < %(end)s AND r.purpose = %(purpose)s
  AND (%(model)s::text IS NULL OR m.name = %(model)s)
ORDER BY v.issued_at, v.created_at, v.run_id
LIMIT %(limit)s

-- name: evolution
-- All forecasts of a city for the interval that contains a time, in the order of their issue, kWh.
SELECT e.issued_at, e.recorded_at, e.model, e.version, e.purpose, e.run_id, e.predicted_consumption::float8 AS predicted,
       e.quantile_levels, e.quantiles::float8[] AS quantiles
FROM forecast_evolution(%(city)s, %(timestamp)s) e
ORDER BY e.issued_at, e.recorded_at, e.run_id

-- name: champions
-- The champions of cities at a time, by city, with the times of their promotion and replacement.
SELECT c.name AS city, m.name AS model, m.version, lower(p.during) AS promoted_at, upper(p.during) AS replaced_at, p.is_forced
FROM model_promotions p JOIN cities c ON c.id = p.city_id JOIN models m ON m.id = p.model_id
WHERE p.city_id = ANY (%(cities)s) AND p.during @> %(at)s::timestamptz
ORDER BY c.name

-- name: quality
-- Faults in the series of a city that overlap [first, end), by series and time.
SELECT f.series, f.kind AS fault, f.first_timestamp AS first, f.last_timestamp + interval '1 hour' AS end, f.hours, f.factor, f.left_out,
       f.created_at AS recorded_at
FROM ops.quality_flags f
WHERE f.city_id = %(city)s AND f.first_timestamp < %(end)s AND f.last_timestamp + interval '1 hour' > %(first)s
ORDER BY f.series, f.first_timestamp, f.kind

-- name: runs
-- Runs that forecast a city of the reader, the last recorded first, after a position.
SELECT r.id AS run_id, r.issued_at, r.created_at AS recorded_at, m.name AS model, m.version, r.purpose, r.weather,
       extract(epoch FROM r.horizon)::float8 / 3600 AS horizon_hours, r.interval_minutes::integer, r.status, r.started_at, r.finished_at
FROM forecast_runs r JOIN models m ON m.id = r.model_id
WHERE (%(purpose)s::text IS NULL OR r.purpose = %(purpose)s) AND (%(model)s::text IS NULL OR m.name = %(model)s)
  AND (%(before)s::timestamptz IS NULL OR (r.created_at, r.id) < (%(before)s, %(before_run)s::uuid))
ORDER BY r.created_at DESC, r.id DESC
LIMIT %(limit)s

-- name: run
-- A run: one row; no row if it forecast no city of the reader.
SELECT r.id AS run_id, r.issued_at, r.created_at AS recorded_at, m.name AS model, m.version, r.purpose, r.weather,
       extract(epoch FROM r.horizon)::float8 / 3600 AS horizon_hours, r.interval_minutes::integer, r.quantile_levels, r.status,
       r.assumptions, r.started_at, r.finished_at
FROM forecast_runs r JOIN models m ON m.id = r.model_id
WHERE r.id = %(run)s

-- name: run_cities
-- The cities of a run that the reader may see, by name, with fallback level and notes.
SELECT c.name AS city, v.first_timestamp AS first, v.last_timestamp + make_interval(mins => v.interval_minutes) AS end,
       (n.notes ->> 'level')::integer AS fallback_level, ARRAY(SELECT jsonb_array_elements_text(n.notes -> 'notes')) AS notes
FROM prediction_vintages v JOIN cities c ON c.id = v.city_id CROSS JOIN LATERAL (SELECT run_notes(v.run_id, v.city_id) AS notes) n
WHERE v.run_id = %(run)s AND v.issued_at = %(issued_at)s
ORDER BY c.name

-- name: batches
-- Batches that the reader loaded over HTTP, or all for the operator, the last finished first, after a position.
SELECT b.batch_id, b.dataset, b.recorded_at, b.finished_at, b.read, b.inserted, b.corrected, b.unchanged, b.rejected,
       b.cells_left_empty
FROM ops.readable_batches(NULL, %(before)s, %(before_batch)s, %(limit)s) b
ORDER BY b.finished_at DESC, b.batch_id DESC

-- name: batch
-- A batch with its files, notes and reasons; no row if it is not of the reader.
SELECT b.batch_id, b.dataset, b.recorded_at, b.finished_at, b.read, b.inserted, b.corrected, b.unchanged, b.rejected,
       b.cells_left_empty, b.files, b.notes, b.reasons
FROM ops.readable_batches(%(batch)s, NULL, NULL, 1) b

-- name: rejected_rows
-- The stored rejected rows and empty cells of a batch, in the order of its files.
SELECT r.file, r.line, r.column_name, r.reason, r.cell_only, r.row_data
FROM ops.rejected_rows_of(%(batch)s) r
ORDER BY r.file, r.line, r.column_name, r.reason

-- name: updates
-- Cities whose data has changed since a position, with the next position; one row without a city if none has changed.
SELECT u.city, u.changed, u.recorded_at, u.cursor, u.next_start, u.next_scores
FROM ops.changes_since(%(since)s::bytea, %(first)s::timestamptz, %(scores)s::bigint) u

-- name: arrivals
-- Values of a city by series and UTC hour of their recording: first versions of load and weather in intervals in [first, end), and weather forecasts
-- issued in [first, end). Delays are hours after the end of the interval; weather forecasts have none.
WITH versions AS (
    SELECT 'consumption' AS series, c.timestamp, c.timestamp + make_interval(mins => c.interval_minutes) AS ending, c.available_at, c.created_at
    FROM energy_consumption c WHERE c.city_id = %(city)s AND c.timestamp >= %(first)s AND c.timestamp < %(end)s
    UNION ALL
    SELECT 'consumption', r.timestamp, r.timestamp + make_interval(mins => r.interval_minutes), r.available_at, r.created_at
    FROM energy_consumption_revisions r WHERE r.city_id = %(city)s AND r.timestamp >= %(first)s AND r.timestamp < %(end)s
    UNION ALL
    SELECT 'weather', w.timestamp, w.timestamp + make_interval(mins => w.interval_minutes), w.available_at, w.created_at
    FROM weather_data w WHERE w.city_id = %(city)s AND w.timestamp >= %(first)s AND w.timestamp < %(end)s
    UNION ALL
    SELECT 'weather', r.timestamp, r.timestamp + make_interval(mins => r.interval_minutes), r.available_at, r.created_at
    FROM weather_data_revisions r WHERE r.city_id = %(city)s AND r.timestamp >= %(first)s AND r.timestamp < %(end)s
), arrived AS (
    SELECT v.series, v.timestamp, max(v.ending) AS ending, min(v.available_at) AS available_at, min(v.created_at) AS created_at
    FROM versions v GROUP BY v.series, v.timestamp
    UNION ALL
    SELECT 'weather-forecasts', f.timestamp, f.timestamp + interval '1 hour', NULL, f.created_at
    FROM weather_forecasts f
    WHERE f.city_id = %(city)s AND f.issued_at >= %(first)s AND f.issued_at < %(end)s
      AND f.timestamp >= %(first)s AND f.timestamp < %(end)s + interval '17 days'
)
SELECT a.series, date_trunc('hour', a.created_at, 'UTC') AS recorded_hour, count(*) AS row_count, min(a.timestamp) AS first,
       max(a.ending) AS end,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY d.recorded) AS median_delay_hours, max(d.recorded) AS longest_delay_hours,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY d.available) AS median_availability_hours
FROM arrived a
CROSS JOIN LATERAL (
    SELECT CASE WHEN a.series <> 'weather-forecasts' THEN extract(epoch FROM a.created_at - a.ending)::float8 / 3600 END AS recorded,
           extract(epoch FROM a.available_at - a.ending)::float8 / 3600 AS available) d
GROUP BY a.series, recorded_hour
ORDER BY recorded_hour, a.series

-- name: sources
-- Cities by series: the last recorded rows, and the gap between two recordings that 90 of 100 do not exceed, over the last 14 days with values.
WITH recorded AS (
    SELECT c.id, 'consumption' AS series, v.created_at, max(v.timestamp + make_interval(mins => v.interval_minutes)) AS ending
    FROM cities c
    CROSS JOIN LATERAL (SELECT max(l.timestamp) AS last FROM energy_consumption l WHERE l.city_id = c.id) l
    JOIN energy_consumption v ON v.city_id = c.id AND v.timestamp > l.last - interval '14 days' AND v.timestamp <= l.last
    WHERE c.id = ANY (%(cities)s) AND v.created_at <= %(at)s
    GROUP BY c.id, v.created_at
    UNION ALL
    SELECT c.id, 'weather', v.created_at, max(v.timestamp + make_interval(mins => v.interval_minutes))
    FROM cities c
    CROSS JOIN LATERAL (SELECT max(l.timestamp) AS last FROM weather_data l WHERE l.city_id = c.id) l
    JOIN weather_data v ON v.city_id = c.id AND v.timestamp > l.last - interval '14 days' AND v.timestamp <= l.last
    WHERE c.id = ANY (%(cities)s) AND v.created_at <= %(at)s
    GROUP BY c.id, v.created_at
    UNION ALL
    SELECT c.id, 'weather-forecasts', v.created_at, max(v.timestamp + interval '1 hour')
    FROM cities c
    CROSS JOIN LATERAL (SELECT max(l.timestamp) AS last FROM weather_forecasts l WHERE l.city_id = c.id) l
    JOIN weather_forecasts v ON v.city_id = c.id AND v.timestamp > l.last - interval '14 days' AND v.timestamp <= l.last
    WHERE c.id = ANY (%(cities)s) AND v.created_at <= %(at)s
    GROUP BY c.id, v.created_at
), gaps AS (
    SELECT r.*, extract(epoch FROM r.created_at - lag(r.created_at) OVER (PARTITION BY r.id, r.series ORDER BY r.created_at))::float8 / 3600 AS gap
    FROM recorded r
)
SELECT c.name AS city, g.series, max(g.created_at) AS recorded_at, max(g.ending) AS end, count(*) AS recording_count,
       CASE WHEN count(*) >= %(fewest)s THEN percentile_cont(0.9) WITHIN GROUP (ORDER BY g.gap) END AS usual_gap_hours
FROM gaps g JOIN cities c ON c.id = g.id
GROUP BY c.name, g.series
ORDER BY c.name, g.series

-- name: rejections
-- Quarantined rows and cells of a city since a time, by file, column and reason without its values, the most frequent first, each with its newest row.
SELECT n.file, n.column_name, n.words AS reason, n.cell_only, n.count, n.recorded_at, n.line, n.row_data
FROM (
    SELECT w.*, count(*) OVER same AS count, row_number() OVER (same ORDER BY w.recorded_at DESC, w.line) AS number
    FROM (
        SELECT r.file, r.column_name, r.cell_only, r.created_at AS recorded_at, r.line, r.row_data,
               regexp_replace(r.reason, '''[^'']*''|[0-9][0-9:.,-]*', '...', 'g') AS words
        FROM ops.rejected_rows r
        WHERE r.city_id = %(city)s AND r.created_at > %(first)s AND r.created_at <= %(end)s) w
    WINDOW same AS (PARTITION BY w.file, w.column_name, w.words, w.cell_only)) n
WHERE n.number = 1
ORDER BY n.count DESC, n.file, n.column_name, n.words
LIMIT 200

-- name: run_outcomes
-- The last recorded runs and their cities, of some cities: the forecast hours, or none if the city failed, with fallback level and notes.
WITH newest AS MATERIALIZED (
    SELECT r.id, r.issued_at, r.created_at, m.name AS model, m.version, r.purpose, r.weather, r.status, r.started_at, r.finished_at
    FROM forecast_runs r JOIN models m ON m.id = r.model_id
    WHERE (%(purpose)s::text IS NULL OR r.purpose = %(purpose)s) AND (%(model)s::text IS NULL OR m.name = %(model)s)
    ORDER BY r.created_at DESC, r.id DESC
    LIMIT %(limit)s)
SELECT r.id AS run_id, r.issued_at, r.created_at AS recorded_at, r.model, r.version, r.purpose, r.weather, r.started_at, r.finished_at,
       c.name AS city, v.first_timestamp AS first, v.last_timestamp + make_interval(mins => v.interval_minutes) AS end,
       v.run_id IS NULL AS has_failed, (n.notes ->> 'level')::integer AS fallback_level,
       ARRAY(SELECT jsonb_array_elements_text(n.notes -> 'notes')) AS notes
FROM newest r
CROSS JOIN cities c
LEFT JOIN prediction_vintages v ON v.city_id = c.id AND v.issued_at = r.issued_at AND v.run_id = r.id
CROSS JOIN LATERAL (SELECT run_notes(r.id, c.id) AS notes) n
WHERE c.id = ANY (%(cities)s)
  AND (v.run_id IS NOT NULL OR r.status = 'partial' AND n.notes ->> 'level' IS NULL AND jsonb_array_length(n.notes -> 'notes') > 0)
ORDER BY r.created_at DESC, r.id DESC, c.name
