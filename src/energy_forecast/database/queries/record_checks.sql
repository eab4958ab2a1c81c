-- name: uncounted_vintages
-- Vintages of live runs that were recorded too late or not with their run: runs, vintages, and the first issued_at.
SELECT count(DISTINCT v.run_id), count(*), min(v.issued_at)
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id
WHERE r.purpose = 'forecast'
  AND (v.created_at <> r.created_at OR v.created_at < v.issued_at OR v.created_at - v.issued_at > interval '3 hours')

-- name: runs_before_training
-- Runs of model versions trained on data that became available after the issue: runs, and the first issued_at.
SELECT count(*), min(r.issued_at)
FROM forecast_runs r JOIN models m ON m.id = r.model_id
WHERE m.trained_until > r.issued_at

-- name: changed_predictions
-- Current forecasts that differ from the vintage of their run: rows, and the first timestamp.
SELECT count(*), min(p.timestamp)
FROM predictions p
JOIN prediction_vintages v ON v.city_id = p.city_id AND v.issued_at = p.issued_at AND v.timestamp = p.timestamp
    AND v.run_id = p.run_id
WHERE v.model_id <> p.model_id OR v.predicted_consumption <> p.predicted_consumption OR NOT (
    p.confidence_lower IS NULL
    OR p.confidence_lower = ANY (v.quantiles::numeric(12,2)[]) AND p.confidence_upper = ANY (v.quantiles::numeric(12,2)[]))

-- name: predictions_without_vintage
-- Current forecasts without a vintage in months with stored vintages: rows, and the first timestamp.
SELECT count(*), min(p.timestamp)
FROM predictions p
WHERE p.issued_at >= (SELECT min(v.issued_at) FROM prediction_vintages v) AND NOT EXISTS (
    SELECT FROM prediction_vintages v
    WHERE v.city_id = p.city_id AND v.issued_at = p.issued_at AND v.timestamp = p.timestamp AND v.run_id = p.run_id)

-- name: scores_with_uncounted_pairs
-- Scores of live runs with more pairs than scorable forecasts: scores, and the first period_start. Retention keeps the vintages of a score.
SELECT count(*), min(s.period_start)
FROM forecast_scores s
WHERE s.purpose = 'forecast'
  AND s.pair_count > (
    SELECT count(DISTINCT (v.timestamp, v.issued_at))
    FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id
    WHERE v.city_id = s.city_id AND v.model_id = s.model_id AND r.purpose = s.purpose AND r.weather = s.weather
      AND v.timestamp >= s.period_start AND v.timestamp < s.period_end
      AND v.timestamp - v.issued_at >= make_interval(hours => s.lead_start_hours)
      AND v.timestamp - v.issued_at < make_interval(hours => s.lead_end_hours)
      AND vintage_counts(r.purpose, v.issued_at, v.timestamp, r.created_at, v.created_at))
