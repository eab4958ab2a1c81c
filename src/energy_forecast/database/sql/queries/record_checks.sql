-- name: uncounted_vintages
-- Vintages of live runs that were recorded too late or not with their run: runs, vintages, and the first issued_at.
SELECT count(DISTINCT v.run_id), count(*), min(v.issued_at)
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id
WHERE scorable_from(r.purpose, v.issued_at, r.created_at, v.created_at) IS NULL

-- name: runs_before_training
-- Runs of model versions trained on data that became available after the issue: runs, and the first issued_at.
SELECT count(*), min(r.issued_at)
FROM forecast_runs r JOIN models m ON m.id = r.model_id
WHERE m.trained_until > r.issued_at

-- name: changed_predictions
-- Current forecasts that differ from the vintage of their run: rows, and the first timestamp.
SELECT count(*), min(p.timestamp)
FROM predictions p
JOIN prediction_vintages v ON v.city_id = p.city_id AND v.issued_at = p.issued_at AND v.run_id = p.run_id
JOIN forecast_runs r ON r.id = p.run_id
CROSS JOIN LATERAL (
    SELECT 1 + extract(epoch FROM p.timestamp - v.first_timestamp)::integer / (60 * v.interval_minutes) AS place) i
WHERE (v.model_id = p.model_id
    AND p.timestamp = v.first_timestamp + (i.place - 1) * make_interval(mins => v.interval_minutes)
    AND p.predicted_consumption = v.predicted_consumption[i.place]::numeric(12,2)
    AND (p.confidence_lower IS NULL
         OR p.confidence_lower = v.quantiles[(i.place - 1) * v.quantile_count + 1]::double precision::numeric(12,2)
        AND p.confidence_upper = v.quantiles[i.place * v.quantile_count]::double precision::numeric(12,2)
        AND p.confidence_level = (r.quantile_levels[r.quantile_count] - r.quantile_levels[1])::numeric(4,3)
        AND abs(r.quantile_levels[1] + r.quantile_levels[r.quantile_count] - 1) < 0.000001)) IS NOT TRUE

-- name: predictions_without_vintage
-- Current forecasts without a vintage in months with stored vintages: rows, and the first timestamp.
SELECT count(*), min(p.timestamp)
FROM predictions p
WHERE p.issued_at >= (SELECT min(v.issued_at) FROM prediction_vintages v) AND NOT EXISTS (
    SELECT FROM prediction_vintages v
    WHERE v.city_id = p.city_id AND v.issued_at = p.issued_at AND v.run_id = p.run_id)

-- name: scores_with_uncounted_pairs
-- Scores of live runs with more pairs than scorable forecasts: scores, and the first period_start. Scores whose vintages
-- retention removed are left out.
SELECT count(*), coalesce(min(s.period_start) FILTER (WHERE s.period_start >= '1970-01-01Z'), min(s.created_at))
FROM forecast_scores s
WHERE s.purpose = 'live'
  AND NOT EXISTS (
    SELECT FROM ops.dropped_data d
    WHERE d.table_name = 'prediction_vintages' AND d.range_start < s.period_end
      AND d.range_end > s.period_start - make_interval(hours => s.lead_end_hours))
  AND s.pair_count > (
    SELECT count(DISTINCT (v.timestamp, v.issued_at))
    FROM vintage_values v JOIN forecast_runs r ON r.id = v.run_id
    WHERE v.city_id = s.city_id AND v.model_id = s.model_id AND r.purpose = s.purpose AND r.weather = s.weather
      AND v.issued_at > s.period_start - make_interval(hours => s.lead_end_hours)
      AND v.issued_at < s.period_end - make_interval(hours => s.lead_start_hours)
      AND v.timestamp >= s.period_start AND v.timestamp < s.period_end
      AND v.timestamp - v.issued_at >= make_interval(hours => s.lead_start_hours)
      AND v.timestamp - v.issued_at < make_interval(hours => s.lead_end_hours)
      AND v.timestamp >= scorable_from(r.purpose, v.issued_at, r.created_at, v.created_at))

-- name: evaluations_without_scores
-- Evaluations of live forecasts and replays that are not the mean of the scores of their transaction: rows, and the
-- first created_at.
SELECT count(*), min(e.created_at)
FROM model_metrics e LEFT JOIN (
    SELECT model_id, created_at, purpose, weather, avg(mape) AS mape, avg(rmse_kwh) AS rmse, avg(mae_kwh) AS mae, avg(r2_score) AS r2
    FROM forecast_scores WHERE purpose <> 'backtest' GROUP BY model_id, created_at, purpose, weather
) s ON s.model_id = e.model_id AND s.created_at = e.created_at AND s.purpose = e.detailed_metrics ->> 'purpose'
    AND s.weather = e.detailed_metrics ->> 'weather'
WHERE e.detailed_metrics ->> 'purpose' IS DISTINCT FROM 'backtest'
  -- Values that are out of the range of the columns are stored as null
  AND (s.model_id IS NULL OR (
    (e.mape IS NULL OR abs(e.mape - s.mape) <= 0.0001) AND (e.rmse IS NULL OR abs(e.rmse - s.rmse) <= 0.01)
    AND (e.mae IS NULL OR abs(e.mae - s.mae) <= 0.01) AND (e.r2_score IS NULL OR abs(e.r2_score - s.r2) <= 0.0001)) IS NOT TRUE)
