-- name: add_score
-- Add a score, unless the newest score of the month has the same pairs; for a backtest, unless the period has with the
-- same assumptions.
INSERT INTO forecast_scores
    (model_id, city_id, purpose, weather, period_start, period_end, lead_start_hours, lead_end_hours, pair_count,
     pair_digest, mape, mae_kwh, rmse_kwh, r2_score, pinball_kwh, coverage_90, width_90_kwh, skill_naive_168,
     by_hour, actuals_as_of, issued_from, issued_until, issued_every, issued_at_local, horizon, assumptions)
SELECT
    %(model_id)s, %(city_id)s, %(purpose)s, %(weather)s, %(period_start)s, %(period_end)s, %(lead_start_hours)s,
    %(lead_end_hours)s, %(pair_count)s, %(pair_digest)s, %(mape)s, %(mae_kwh)s, %(rmse_kwh)s, %(r2_score)s,
    %(pinball_kwh)s, %(coverage_90)s, %(width_90_kwh)s, %(skill_naive_168)s, %(by_hour)s,
    %(actuals_as_of)s, %(issued_from)s, %(issued_until)s, %(issued_every)s, %(issued_at_local)s, %(horizon)s,
    %(assumptions)s
WHERE %(pair_digest)s IS DISTINCT FROM (
    SELECT s.pair_digest
    FROM forecast_scores s
    WHERE s.city_id = %(city_id)s AND s.model_id = %(model_id)s AND s.purpose = %(purpose)s AND s.weather = %(weather)s
      AND s.lead_start_hours = %(lead_start_hours)s AND s.lead_end_hours = %(lead_end_hours)s
      AND s.period_start >= %(month_start)s AND s.period_end <= %(month_end)s
      AND (s.purpose <> 'backtest' OR s.pair_digest = %(pair_digest)s AND s.assumptions = %(assumptions)s)
    ORDER BY s.created_at DESC
    LIMIT 1)
RETURNING id

-- name: add_metrics
-- Add an evaluation of a model version.
INSERT INTO model_metrics (model_id, timestamp, mape, rmse, mae, r2_score, detailed_metrics)
VALUES (%(model_id)s, clock_timestamp(), %(mape)s, %(rmse)s, %(mae)s, %(r2_score)s, %(detailed_metrics)s)

-- name: latest_scores
-- The newest score of each city, model, weather and lead-time bucket for one purpose.
SELECT DISTINCT ON (c.name, m.name, s.weather, s.lead_start_hours, s.lead_end_hours)
       s.id, c.name AS city, m.name AS model, m.version, s.weather, s.period_start, s.period_end, s.lead_start_hours,
       s.lead_end_hours, s.pair_count, s.mape, s.mae_kwh, s.rmse_kwh, s.r2_score, s.pinball_kwh, s.coverage_90,
       s.width_90_kwh, s.skill_naive_168, s.created_at
FROM forecast_scores s JOIN cities c ON c.id = s.city_id JOIN models m ON m.id = s.model_id
WHERE s.purpose = %(purpose)s AND c.name = ANY (%(cities)s)
ORDER BY c.name, m.name, s.weather, s.lead_start_hours, s.lead_end_hours, s.created_at DESC, s.period_end DESC

-- name: find_scores
-- Scores by id, or by city, model, purpose, local month (as YYYY-MM) and bucket; newest first.
SELECT s.id, c.name AS city, m.name AS model, m.version, s.city_id, s.model_id, s.purpose, s.weather, s.period_start,
       s.period_end, s.lead_start_hours, s.lead_end_hours, s.pair_count, s.pair_digest, s.mape, s.mae_kwh, s.rmse_kwh,
       s.r2_score, s.pinball_kwh, s.coverage_90, s.width_90_kwh, s.skill_naive_168, s.by_hour,
       s.issued_from, s.issued_until, s.issued_every, s.issued_at_local, s.horizon, s.assumptions, s.actuals_as_of, s.created_at
FROM forecast_scores s JOIN cities c ON c.id = s.city_id JOIN models m ON m.id = s.model_id
WHERE (%(id)s::uuid IS NULL OR s.id = %(id)s)
  AND (%(city)s::text IS NULL OR lower(normalize(c.name, NFC)) = lower(normalize(%(city)s, NFC)))
  AND (%(model)s::text IS NULL OR m.name = %(model)s)
  AND (%(purpose)s::text IS NULL OR s.purpose = %(purpose)s)
  AND (%(lead_start)s::integer IS NULL OR s.lead_start_hours = %(lead_start)s)
  AND (%(month)s::text IS NULL OR to_char(s.period_start AT TIME ZONE c.timezone, 'YYYY-MM') = %(month)s)
ORDER BY s.created_at DESC, c.name, m.name, s.period_start DESC, s.lead_start_hours
LIMIT %(limit)s

-- name: scores_that_count
-- The scores of live forecasts that readers use first: of the last 35 days the newest and the longest period of each
-- city, model, weather, local month and lead time.
WITH placed AS (
    SELECT s.*, row_number() OVER (ranked ORDER BY s.created_at DESC, s.id) AS by_age,
           row_number() OVER (ranked ORDER BY s.period_end DESC, s.created_at DESC, s.id) AS by_end
    FROM forecast_scores s JOIN cities c ON c.id = s.city_id
    WHERE s.purpose = 'live' AND s.created_at >= now() - interval '35 days'
      -- The rule of the trigger real_period, for rows from before it
      AND s.period_start >= '1970-01-01Z' AND s.period_end <= now() + interval '8 days'
      AND s.actuals_as_of BETWEEN '1970-01-01Z' AND now() + interval '1 day'
    WINDOW ranked AS (PARTITION BY s.city_id, s.model_id, s.weather, date_trunc('month', s.period_start AT TIME ZONE c.timezone),
                      s.lead_start_hours, s.lead_end_hours)
)
SELECT s.id, c.name AS city, m.name AS model, m.version, s.city_id, s.model_id, s.purpose, s.weather, s.period_start,
       s.period_end, s.lead_start_hours, s.lead_end_hours, s.pair_count, s.mape, s.mae_kwh, s.rmse_kwh, s.pinball_kwh,
       s.coverage_90, s.width_90_kwh, s.issued_from, s.issued_until, s.issued_every, s.issued_at_local, s.horizon,
       s.assumptions, s.actuals_as_of, s.created_at
FROM placed s JOIN cities c ON c.id = s.city_id JOIN models m ON m.id = s.model_id
WHERE s.by_age = 1 OR s.by_end = 1
ORDER BY c.name, s.actuals_as_of, s.period_start

-- name: scored_forecasts
-- The forecasts behind a score, kWh; of several with one issued_at and hour, the last one recorded before the score.
SELECT DISTINCT ON (v.timestamp, v.issued_at)
       r.purpose, r.weather, v.issued_at, v.timestamp, v.predicted_consumption AS predicted, v.quantiles
FROM vintage_values v JOIN forecast_runs r ON r.id = v.run_id
WHERE v.city_id = %(city_id)s AND v.model_id = %(model_id)s AND r.purpose = %(purpose)s AND r.weather = %(weather)s
  AND r.assumptions = %(assumptions)s AND v.issued_at > %(period_start)s::timestamptz - make_interval(hours => %(lead_end_hours)s)
  AND v.issued_at < %(period_end)s::timestamptz - make_interval(hours => %(lead_start_hours)s)
  AND v.timestamp >= %(period_start)s AND v.timestamp < %(period_end)s
  AND v.timestamp - v.issued_at >= make_interval(hours => %(lead_start_hours)s)
  AND v.timestamp - v.issued_at < make_interval(hours => %(lead_end_hours)s)
  AND r.created_at <= %(created_at)s AND v.timestamp >= scorable_from(r.purpose, v.issued_at, r.created_at, v.created_at)
  -- Other backtests of the version may have issue times in between
  AND (%(issued_from)s::timestamptz IS NULL OR (
    r.horizon = %(horizon)s::interval
    AND v.issued_at BETWEEN %(issued_from)s::timestamptz AND %(issued_until)s::timestamptz
    AND CASE WHEN %(issues)s::timestamptz[] IS NULL
        THEN mod(extract(epoch FROM v.issued_at - %(issued_from)s::timestamptz),
                 extract(epoch FROM %(issued_every)s::interval)) = 0
        ELSE v.issued_at = ANY (%(issues)s::timestamptz[]) END))
ORDER BY v.timestamp, v.issued_at, r.created_at DESC, r.id DESC

-- name: removed_vintages
-- The last month of vintages in [first, end) that retention removed: the month and the time of the removal. No row: none.
SELECT range_start, dropped_at FROM ops.dropped_data
WHERE table_name = 'prediction_vintages' AND range_start < %(end)s AND range_end > %(first)s
ORDER BY range_start DESC
LIMIT 1

-- name: score_everything
-- Add all hours of all cities to the hours to score.
INSERT INTO ops.hours_to_score DEFAULT VALUES

-- name: assign_hours_to_score
-- Give each city its rows of the hours to score.
SELECT ops.assign_hours_to_score()

-- name: hours_to_score
-- The hours to score by city.
SELECT id, city_id, first_hour, last_hour, has_new_forecasts
FROM ops.hours_to_score
WHERE city_id IS NOT NULL
ORDER BY city_id, id

-- name: finish_hours
-- Delete hours that were scored; those with a value that becomes available later stay, as new rows. The number of rows.
WITH done AS (
    DELETE FROM ops.hours_to_score
    WHERE id = ANY (%(ids)s)
    RETURNING city_id, first_hour, last_hour, has_new_forecasts, known_at
), later AS (
    INSERT INTO ops.hours_to_score (city_id, first_hour, last_hour, has_new_forecasts, known_at)
    SELECT city_id, first_hour, last_hour, has_new_forecasts, known_at FROM done WHERE known_at > %(now)s
)
SELECT count(*) FROM done

-- name: removed_until
-- End of the last month whose load or forecasts retention removed; null if it removed none.
SELECT max(range_end) FROM ops.dropped_data
WHERE table_name = 'energy_consumption' OR table_name = 'prediction_vintages' AND row_count > 0

-- name: first_issue
-- The first issue time of the forecasts of a city; null without one.
SELECT min(issued_at) FROM prediction_vintages WHERE city_id = %(city)s

-- name: scored_days
-- The scored days of a city in a range, and its last one, by day. One row: the bytes of each column.
SELECT string_agg(int4send(day - date '1970-01-01'), ''), string_agg(int2send(phase_minutes), ''),
       string_agg(int2send((sums IS NOT NULL)::integer::int2), ''), string_agg(actuals, '')
FROM (
    SELECT day, phase_minutes, sums, actuals
    FROM ops.scored_days
    WHERE city_id = %(city)s AND (day BETWEEN %(first)s AND %(last)s OR day = (
        SELECT max(day) FROM ops.scored_days WHERE city_id = %(city)s))
    ORDER BY day) days

-- name: sums_of_days
-- The sums of scored days of a city.
SELECT day, sums FROM ops.scored_days WHERE city_id = %(city)s AND day = ANY (%(days)s) AND sums IS NOT NULL

-- name: store_scored_day
-- Store the state of a scored day.
INSERT INTO ops.scored_days (city_id, day, phase_minutes, actuals, sums)
VALUES (%(city)s, %(day)s, %(phase)s, %(actuals)s, %(sums)s)
ON CONFLICT (city_id, day) DO UPDATE SET
    phase_minutes = excluded.phase_minutes, actuals = excluded.actuals, sums = excluded.sums

-- name: forget_sums
-- Remove the sums of the months that are no longer kept.
UPDATE ops.scored_days SET sums = NULL
WHERE city_id = %(city)s AND day >= %(first)s AND day < %(end)s AND sums IS NOT NULL

-- name: forget_days
-- Remove the state of all days of a city.
DELETE FROM ops.scored_days WHERE city_id = %(city)s
