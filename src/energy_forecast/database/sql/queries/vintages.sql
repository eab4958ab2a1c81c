-- name: scorable_vintages
-- Hourly vintages of a city that count in scores, kWh, with arrays as bytes; counts_from is the first hour that counts. Null omits
-- a condition: the span of the hours or of the issue, the time by which a live forecast was recorded or another one was issued.
-- In order of model, issue and recording.
SELECT m.name AS model, m.version, r.purpose, r.weather, r.assumptions, v.issued_at, v.interval_minutes::integer, v.first_timestamp,
       -- The rule is minus infinity for replays and backtests
       greatest(v.first_timestamp, scorable_from(r.purpose, v.issued_at, r.created_at, v.created_at)) AS counts_from,
       r.quantile_levels, array_send(v.predicted_consumption) AS predicted, array_send(v.quantiles) AS quantiles
FROM prediction_vintages v JOIN forecast_runs r ON r.id = v.run_id JOIN models m ON m.id = v.model_id
WHERE v.city_id = %(city)s AND v.interval_minutes = 60
  AND (%(first)s::timestamptz IS NULL OR v.issued_at > %(first)s::timestamptz - interval '169 hours' AND v.last_timestamp >= %(first)s)
  AND (%(end)s::timestamptz IS NULL OR v.issued_at < %(end)s AND v.first_timestamp < %(end)s)
  AND (%(issued_first)s::timestamptz IS NULL OR v.issued_at >= %(issued_first)s)
  AND (%(issued_end)s::timestamptz IS NULL OR v.issued_at < %(issued_end)s)
  AND (%(models)s::text[] IS NULL OR m.name = ANY (%(models)s)) AND (%(purpose)s::text IS NULL OR r.purpose = %(purpose)s)
  AND (%(weather)s::text IS NULL OR r.weather = %(weather)s) AND (%(assumptions)s::jsonb IS NULL OR r.assumptions = %(assumptions)s)
  AND (%(as_of)s::timestamptz IS NULL OR CASE WHEN r.purpose = 'live' THEN r.created_at ELSE v.issued_at END <= %(as_of)s)
  AND scorable_from(r.purpose, v.issued_at, r.created_at, v.created_at) IS NOT NULL
ORDER BY m.name, v.issued_at, r.created_at, r.id
