-- name: ensure_partitions
-- Create the monthly partitions of vintages between two issue times.
SELECT ensure_month_partitions('prediction_vintages', %(first)s, %(last)s)

-- name: add_run
-- Add a run.
INSERT INTO forecast_runs
    (id, model_id, purpose, issued_at, horizon, weather, quantile_levels, status, notes, fallback_levels, started_at, finished_at)
VALUES
    (%(id)s, %(model)s, %(purpose)s, %(issued_at)s, %(horizon)s, %(weather)s, %(quantile_levels)s, %(status)s, %(notes)s,
     %(fallback_levels)s, %(started_at)s, %(finished_at)s)

-- name: make_staging
-- Create a temporary table for the forecasts of this transaction; kWh in the hour.
CREATE TEMPORARY TABLE staged_forecasts (
    run_id uuid, city_id uuid, model_id uuid, issued_at timestamptz, timestamp timestamptz,
    predicted_consumption double precision, quantiles double precision[], features_used jsonb
) ON COMMIT DROP

-- name: copy_staging
-- Fill the staging table.
COPY staged_forecasts FROM STDIN (FORMAT binary)

-- name: add_vintages
-- Store every staged forecast as a vintage.
INSERT INTO prediction_vintages
    (run_id, city_id, model_id, issued_at, timestamp, predicted_consumption, quantiles, quantile_count)
SELECT run_id, city_id, model_id, issued_at, timestamp, predicted_consumption, quantiles, cardinality(quantiles)
FROM staged_forecasts
ORDER BY city_id, issued_at, timestamp

-- name: replace_predictions
-- Make the staged forecasts current, unless a later issue is stored; `lower` and `upper` are positions in the
-- quantiles.
INSERT INTO predictions AS p
    (city_id, model_id, timestamp, predicted_consumption, confidence_lower, confidence_upper, confidence_level,
     features_used, run_id, issued_at)
SELECT city_id, model_id, timestamp, predicted_consumption, quantiles[%(lower)s], quantiles[%(upper)s],
       %(confidence_level)s, features_used, run_id, issued_at
FROM staged_forecasts
ORDER BY city_id, timestamp
ON CONFLICT (city_id, model_id, timestamp) DO UPDATE SET
    predicted_consumption = excluded.predicted_consumption, confidence_lower = excluded.confidence_lower,
    confidence_upper = excluded.confidence_upper, confidence_level = excluded.confidence_level,
    features_used = excluded.features_used, run_id = excluded.run_id, issued_at = excluded.issued_at
WHERE excluded.issued_at >= p.issued_at

-- name: vintage
-- The forecast that a model issued for a city at a time, kWh; of several, the last recorded one.
SELECT m.name AS model, m.version, r.weather, r.notes, r.quantile_levels, v.timestamp,
       v.predicted_consumption::float8 AS predicted, v.quantiles
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id JOIN models m ON m.id = r.model_id
WHERE v.city_id = %(city)s AND v.issued_at = %(issued_at)s AND r.id = (
    SELECT r2.id
    FROM prediction_vintages v2 JOIN forecast_runs r2 ON r2.id = v2.run_id JOIN models m2 ON m2.id = r2.model_id
    WHERE v2.city_id = %(city)s AND v2.issued_at = %(issued_at)s AND r2.purpose <> 'backtest' AND m2.name = %(model)s
    ORDER BY r2.created_at DESC
    LIMIT 1)
ORDER BY v.timestamp

-- name: to_score
-- Scorable forecasts of a city for the hours in [first, end), kWh: every issue of an hour, in the order of recording.
SELECT v.model_id, r.purpose, r.weather, v.issued_at, v.timestamp, v.predicted_consumption::float8 AS predicted, v.quantiles
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id
WHERE v.city_id = %(city)s AND v.timestamp >= %(first)s AND v.timestamp < %(end)s
  AND v.issued_at >= %(first)s - interval '168 hours' AND v.issued_at < %(end)s AND r.purpose <> 'backtest'
  AND vintage_counts(r.purpose, v.issued_at, v.timestamp, r.created_at, v.created_at)
ORDER BY r.created_at, r.id

-- name: backtested
-- Backtest forecasts of these versions for a city at these issue times, kWh; of several, the last recorded one.
SELECT v.model_id, v.issued_at, r.weather, v.timestamp, v.predicted_consumption::float8 AS predicted, v.quantiles
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id
WHERE v.city_id = %(city)s AND v.issued_at BETWEEN %(first)s AND %(last)s AND v.issued_at = ANY (%(times)s)
  AND v.model_id = ANY (%(models)s) AND r.purpose = 'backtest' AND r.horizon = %(horizon)s
  AND r.weather = ANY (%(weathers)s) AND NOT EXISTS (
    SELECT FROM prediction_vintages v2 JOIN forecast_runs r2 ON r2.id = v2.run_id
    WHERE v2.city_id = v.city_id AND v2.issued_at = v.issued_at AND v2.timestamp = v.timestamp
      AND v2.model_id = v.model_id AND r2.purpose = 'backtest' AND r2.horizon = r.horizon
      AND r2.weather = ANY (%(weathers)s) AND (r2.created_at, r2.id) > (r.created_at, r.id))
ORDER BY v.model_id, v.issued_at, v.timestamp

-- name: last_run
-- The run of the last forecast of a city issued by a time, of one model or any, for the given purposes.
SELECT r.id, r.model_id, m.name AS model, m.version, r.purpose, r.issued_at, r.horizon, r.weather, r.notes, r.fallback_levels,
  r.created_at
FROM forecast_runs r JOIN models m ON m.id = r.model_id
WHERE r.issued_at <= %(at)s AND r.purpose = ANY (%(purposes)s) AND (%(model)s::text IS NULL OR m.name = %(model)s)
  AND EXISTS (
    SELECT FROM prediction_vintages v WHERE v.run_id = r.id AND v.issued_at = r.issued_at AND v.city_id = %(city)s)
ORDER BY r.issued_at DESC, r.created_at DESC
LIMIT 1

-- name: run_forecast
-- A run's forecast of a city, kWh.
SELECT r.purpose, r.weather, v.issued_at, v.timestamp, v.predicted_consumption::float8 AS predicted, v.quantiles
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id
WHERE v.run_id = %(run)s AND v.issued_at = %(issued_at)s AND v.city_id = %(city)s
ORDER BY v.timestamp
