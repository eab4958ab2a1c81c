-- name: ensure_partitions
-- Create the monthly partitions of vintages between two issue times.
SELECT ensure_month_partitions('prediction_vintages', %(first)s, %(last)s)

-- name: add_run
-- Add a run.
INSERT INTO forecast_runs
    (id, model_id, purpose, issued_at, horizon, weather, interval_minutes, quantile_levels, status, notes, fallback_levels,
     assumptions, started_at, finished_at)
VALUES
    (%(id)s, %(model)s, %(purpose)s, %(issued_at)s, %(horizon)s, %(weather)s, %(interval_minutes)s, %(quantile_levels)s,
     %(status)s, %(notes)s, %(fallback_levels)s, %(assumptions)s, %(started_at)s, %(finished_at)s)

-- name: make_staging
-- Create a temporary table for the vintages of this transaction. Policies forbid COPY into the table itself.
CREATE TEMPORARY TABLE staged_vintages (LIKE prediction_vintages INCLUDING DEFAULTS INCLUDING STORAGE) ON COMMIT DROP

-- name: copy_staging
-- Fill the staging table.
COPY staged_vintages (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp, interval_minutes,
    quantile_count, predicted_consumption, quantiles) FROM STDIN (FORMAT binary)

-- name: add_vintages
-- Store the staged vintages; a trigger makes those of live runs and replays the current predictions.
INSERT INTO prediction_vintages
    (run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp, interval_minutes, quantile_count,
     predicted_consumption, quantiles)
SELECT run_id, city_id, model_id, issued_at, first_timestamp, last_timestamp, interval_minutes, quantile_count,
       predicted_consumption, quantiles
FROM staged_vintages
ORDER BY city_id

-- name: vintage
-- The forecast that a model issued for a city at a time, kWh; of several (of one purpose, if given), the last recorded one.
SELECT m.name AS model, m.version, r.weather, r.notes, r.quantile_levels, v.timestamp,
       v.predicted_consumption AS predicted, v.quantiles::float8[] AS quantiles
FROM vintage_values v JOIN forecast_runs r ON r.id = v.run_id JOIN models m ON m.id = r.model_id
WHERE v.city_id = %(city)s AND v.issued_at = %(issued_at)s AND r.id = (
    SELECT r2.id
    FROM prediction_vintages v2 JOIN forecast_runs r2 ON r2.id = v2.run_id JOIN models m2 ON m2.id = r2.model_id
    WHERE v2.city_id = %(city)s AND v2.issued_at = %(issued_at)s AND r2.purpose <> 'backtest' AND m2.name = %(model)s
      AND (%(purpose)s::text IS NULL OR r2.purpose = %(purpose)s)
    ORDER BY r2.created_at DESC
    LIMIT 1)
ORDER BY v.timestamp

-- name: to_score
-- Scorable hourly forecasts of a city for the hours in [first, end), kWh: every issue, in the order of recording.
SELECT v.model_id, r.purpose, r.weather, v.issued_at, t.timestamp, v.predicted_consumption[i.place] AS predicted,
       q.quantiles[(i.place - 1) * v.quantile_count + 1 : i.place * v.quantile_count] AS quantiles
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id
-- As vintage_values, of these hours only; concatenation reads the quantiles of a row once
CROSS JOIN LATERAL (SELECT v.quantiles || '{}'::real[] AS quantiles OFFSET 0) q
CROSS JOIN LATERAL generate_series(
    greatest(0, ceil(extract(epoch FROM %(first)s::timestamptz - v.first_timestamp) / 3600))::integer + 1,
    least(cardinality(v.predicted_consumption),
          ceil(extract(epoch FROM %(end)s::timestamptz - v.first_timestamp) / 3600))::integer) AS i (place)
CROSS JOIN LATERAL (SELECT v.first_timestamp + (i.place - 1) * interval '1 hour' AS timestamp) t
WHERE v.city_id = %(city)s AND v.issued_at >= %(first)s - interval '168 hours' AND v.issued_at < %(end)s
  AND v.last_timestamp >= %(first)s AND v.first_timestamp < %(end)s AND v.interval_minutes = 60
  AND r.purpose <> 'backtest' AND t.timestamp >= scorable_from(r.purpose, v.issued_at, r.created_at, v.created_at)
ORDER BY r.created_at, r.id

-- name: backtested
-- Backtest forecasts of these versions for a city at these issue times with these assumptions, kWh; of several, the last recorded one.
WITH latest AS (
    SELECT DISTINCT ON (v.model_id, v.issued_at) v.run_id, r.weather
    FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id
    WHERE v.city_id = %(city)s AND v.issued_at BETWEEN %(first)s AND %(last)s AND v.issued_at = ANY (%(times)s)
      AND v.model_id = ANY (%(models)s) AND r.purpose = 'backtest' AND r.horizon = %(horizon)s
      AND r.weather = ANY (%(weathers)s) AND r.assumptions = %(assumptions)s
    ORDER BY v.model_id, v.issued_at, r.created_at DESC, r.id DESC)
SELECT v.model_id, v.issued_at, l.weather, v.timestamp, v.predicted_consumption AS predicted, v.quantiles
FROM latest l JOIN vintage_values v ON v.run_id = l.run_id
WHERE v.city_id = %(city)s AND v.issued_at BETWEEN %(first)s AND %(last)s
ORDER BY v.model_id, v.issued_at, v.timestamp

-- name: last_run
-- The run of the last forecast of a city issued by a time, of one model or version or any, for the given purposes.
SELECT r.id, r.model_id, m.name AS model, m.version, r.purpose, r.issued_at, r.horizon, r.weather, n.notes -> 'fallback' AS fallback,
  n.notes -> 'remarks' AS remarks, r.assumptions, r.created_at
FROM forecast_runs r JOIN models m ON m.id = r.model_id
CROSS JOIN LATERAL (SELECT run_notes(r.id, %(city)s) AS notes) n
WHERE r.issued_at <= %(at)s AND r.purpose = ANY (%(purposes)s) AND (%(model)s::text IS NULL OR m.name = %(model)s)
  AND (%(model_id)s::uuid IS NULL OR m.id = %(model_id)s) AND (%(recorded_by)s::timestamptz IS NULL OR r.created_at <= %(recorded_by)s)
  AND EXISTS (
    SELECT FROM prediction_vintages v WHERE v.run_id = r.id AND v.issued_at = r.issued_at AND v.city_id = %(city)s)
ORDER BY r.issued_at DESC, r.created_at DESC
LIMIT 1

-- name: run_forecast
-- A run's forecast of a city, kWh.
SELECT r.purpose, r.weather, v.issued_at, v.timestamp, v.predicted_consumption AS predicted, v.quantiles
FROM vintage_values v JOIN forecast_runs r ON r.id = v.run_id
WHERE v.run_id = %(run)s AND v.issued_at = %(issued_at)s AND v.city_id = %(city)s
ORDER BY v.timestamp

-- name: live_load_age
-- The live forecasts of a city since a time: number of UTC days with one, median age of the last known load in hours.
SELECT count(DISTINCT date_trunc('day', v.issued_at, 'UTC')),
       percentile_disc(0.5) WITHIN GROUP (ORDER BY (r.fallback_levels -> %(name)s::text ->> 'stale_hours')::integer)
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id
WHERE v.city_id = %(city)s AND v.issued_at >= %(since)s AND r.purpose = 'live'
  AND r.fallback_levels -> %(name)s::text ? 'stale_hours'
