-- name: chain_end
-- The end of the chain, and the hash of its first link, which identifies the chain.
SELECT (SELECT hash FROM ops.audit_chain WHERE sequence = 0), sequence, hash
FROM ops.audit_chain ORDER BY sequence DESC LIMIT 1

-- name: server_identity
-- The system identifier and the database name; a restore elsewhere changes both.
SELECT (SELECT system_identifier FROM pg_control_system())::text, current_database()::text

-- name: links
-- The next links of the chain with the hashed text of each. A copy of the expression in chain_audit_entries(): see there.
SELECT c.sequence, c.previous_hash, c.hash, a.id IS NOT NULL AS present,
       jsonb_build_array(
           c.sequence, a.id, a.number, a.table_name, a.action, a.old_data, a.new_data, a.user_name, a.session_user_name,
           a.transaction_id::text, a.city_ids, (extract(epoch FROM a.timestamp) * 1000000)::bigint)::text AS text,
       c.audit_id, a.table_name, a.action, a.timestamp
FROM ops.audit_chain c LEFT JOIN audit_log a ON a.id = c.audit_id
WHERE c.sequence > %(after)s AND c.sequence <= %(until)s
ORDER BY c.sequence
LIMIT %(limit)s

-- name: unchained_entries
-- Entries without a link in the chain; the trigger never creates any.
SELECT count(*) OVER (), a.id, a.number, a.table_name, a.action, a.timestamp
FROM audit_log a WHERE NOT EXISTS (SELECT FROM ops.audit_chain c WHERE c.audit_id = a.id)
ORDER BY a.number LIMIT 10

-- name: take_baselines
-- Record the rows of each compared table once; the triggers of ops.fact_baselines write the entries.
INSERT INTO ops.fact_baselines (table_name)
SELECT missing FROM unnest(ARRAY['energy_consumption', 'energy_consumption_revisions', 'weather_data',
                                'weather_data_revisions', 'weather_forecasts', 'prediction_vintages', 'cities', 'models',
                                'model_artifacts', 'user_city_access', 'model_promotions', 'forecast_runs',
                                'ops.retention_policies', 'ops.retraining_policies', 'ops.repairs']) AS missing
WHERE NOT EXISTS (SELECT FROM ops.fact_baselines b WHERE b.table_name = missing)

-- name: fact_ranges
-- The ranges in which the rows of a table are read: (first, end), null for no bound.
SELECT substring(b.bound FROM $re$FROM \('([^']+)'\)$re$)::timestamptz, substring(b.bound FROM $re$TO \('([^']+)'\)$re$)::timestamptz
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid)) AS b (bound)
WHERE i.inhparent = format('public.%%I', %(table)s::text)::regclass AND b.bound IS NOT NULL
ORDER BY 1, 2

-- name: recorded_sums
-- The contents of a table by the entries of the log, in blocks of 30 days: (block, rows and the four sums).
SELECT s.key, sum(e.sign * (s.value ->> 0)::numeric), sum(e.sign * (s.value ->> 1)::numeric),
       sum(e.sign * (s.value ->> 2)::numeric), sum(e.sign * (s.value ->> 3)::numeric), sum(e.sign * (s.value ->> 4)::numeric)
FROM public.audit_log a, LATERAL (VALUES (1, a.new_data), (-1, a.old_data)) AS e (sign, data),
     LATERAL jsonb_each(e.data -> 'sums') AS s
WHERE a.table_name = %(table)s AND a.action IN ('INSERT', 'UPDATE', 'DELETE')
GROUP BY s.key

-- name: changed_rows
-- Rows of controlled tables that differ from their last entries: (table, key, difference). Only columns of the entry
-- are compared.
WITH controlled (name, key) AS (VALUES
    ('cities', ARRAY['id']), ('models', ARRAY['id']), ('model_artifacts', ARRAY['model_id', 'city_id']),
    ('user_city_access', ARRAY['user_id', 'city_id']), ('model_promotions', ARRAY['id']), ('forecast_runs', ARRAY['id']),
    ('ops.retention_policies', ARRAY['table_name']), ('ops.retraining_policies', ARRAY['reason']), ('ops.repairs', ARRAY['id'])
), recorded AS (
    SELECT DISTINCT ON (a.table_name, e.key) a.table_name AS name, e.key, a.action, a.new_data AS facts
    FROM public.audit_log a JOIN controlled t ON t.name = a.table_name CROSS JOIN LATERAL (
        SELECT array_agg(coalesce(a.new_data, a.old_data) ->> k.name ORDER BY k.place) AS key
        FROM unnest(t.key) WITH ORDINALITY AS k (name, place)) e
    WHERE a.action IN ('INSERT', 'UPDATE', 'DELETE')
    ORDER BY a.table_name, e.key, a.number DESC
), rows_now (name, facts) AS (
    SELECT 'cities', to_jsonb(c) FROM public.cities c
    UNION ALL SELECT 'models', to_jsonb(c) FROM public.models c
    UNION ALL SELECT 'model_artifacts', to_jsonb(c)
        FROM (SELECT model_id, city_id, sha256, training_digest, training_facts, created_at FROM public.model_artifacts) c
    UNION ALL SELECT 'user_city_access', to_jsonb(c) FROM public.user_city_access c
    UNION ALL SELECT 'model_promotions', to_jsonb(c) FROM public.model_promotions c
    UNION ALL SELECT 'forecast_runs', to_jsonb(c)
        FROM (SELECT id, model_id, purpose, issued_at, horizon, weather, interval_minutes, quantile_levels, status, started_at, finished_at,
                     created_at FROM public.forecast_runs WHERE purpose = 'live') c
    UNION ALL SELECT 'ops.retention_policies', to_jsonb(c) FROM ops.retention_policies c
    UNION ALL SELECT 'ops.retraining_policies', to_jsonb(c) FROM ops.retraining_policies c
    UNION ALL SELECT 'ops.repairs', to_jsonb(c) FROM ops.repairs c
), stored AS (
    SELECT r.name, r.facts, (SELECT array_agg(r.facts ->> k.name ORDER BY k.place)
                             FROM unnest(t.key) WITH ORDINALITY AS k (name, place)) AS key
    FROM rows_now r JOIN controlled t USING (name)
), compared AS (
    SELECT name, key, CASE
        WHEN s.facts IS NULL AND r.action <> 'DELETE' THEN 'is gone'
        WHEN s.facts IS NOT NULL AND (r.action IS NULL OR r.action = 'DELETE') THEN 'was added'
        WHEN EXISTS (SELECT FROM jsonb_each(r.facts) e
                     WHERE s.facts ? e.key AND s.facts -> e.key IS DISTINCT FROM e.value) THEN 'was changed'
        END AS difference
    FROM recorded r FULL JOIN stored s USING (name, key)
)
SELECT name, array_to_string(key, ', '), difference FROM compared
WHERE difference IS NOT NULL
ORDER BY name, key

-- name: baseline
-- The time since which entries have checksums: (time, whether there were rows before).
SELECT b.created_at, EXISTS (SELECT FROM public.audit_log a WHERE a.table_name = b.table_name AND a.new_data ? 'baseline')
FROM ops.fact_baselines b WHERE b.table_name = %(table)s

-- name: sums_of_energy_consumption
-- The contents of energy_consumption in a range, in blocks of 30 days: (block, rows and the four sums). A copy of
-- audit_sums_query(): see there.
SELECT to_char(date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00') AT TIME ZONE 'UTC', 'YYYY-MM-DD'), count(*)::numeric,
       sum(hashtextextended(h.hash, 1)), sum(hashtextextended(h.hash, 2)), sum(hashtextextended(h.hash, 3)),
       sum(hashtextextended(h.hash, 4))
FROM (SELECT c.timestamp, encode(sha256(record_send(ROW(
          c.city_id, c.timestamp, c.consumption_kwh, c.peak_demand_kw, c.metadata,
          c.created_at, c.available_at, c.interval_minutes))), 'base64') AS hash
      FROM public.energy_consumption c
      WHERE c.timestamp >= coalesce(%(first)s::timestamptz, '-infinity') AND c.timestamp < coalesce(%(end)s::timestamptz, 'infinity')
      OFFSET '0') h
GROUP BY date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00')

-- name: sums_of_weather_data
-- The contents of weather_data in a range, in blocks of 30 days: (block, rows and the four sums). A copy of
-- audit_sums_query(): see there.
SELECT to_char(date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00') AT TIME ZONE 'UTC', 'YYYY-MM-DD'), count(*)::numeric,
       sum(hashtextextended(h.hash, 1)), sum(hashtextextended(h.hash, 2)), sum(hashtextextended(h.hash, 3)),
       sum(hashtextextended(h.hash, 4))
FROM (SELECT c.timestamp, encode(sha256(record_send(ROW(
          c.city_id, c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation,
          c.created_at, c.available_at, c.interval_minutes))), 'base64') AS hash
      FROM public.weather_data c
      WHERE c.timestamp >= coalesce(%(first)s::timestamptz, '-infinity') AND c.timestamp < coalesce(%(end)s::timestamptz, 'infinity')
      OFFSET '0') h
GROUP BY date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00')

-- name: sums_of_energy_consumption_revisions
-- The contents of energy_consumption_revisions in a range, in blocks of 30 days: (block, rows and the four sums). A
-- copy of audit_sums_query(): see there.
SELECT to_char(date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00') AT TIME ZONE 'UTC', 'YYYY-MM-DD'), count(*)::numeric,
       sum(hashtextextended(h.hash, 1)), sum(hashtextextended(h.hash, 2)), sum(hashtextextended(h.hash, 3)),
       sum(hashtextextended(h.hash, 4))
FROM (SELECT c.timestamp, encode(sha256(record_send(ROW(
          c.city_id, c.timestamp, c.consumption_kwh, c.peak_demand_kw, c.metadata,
          c.created_at, c.available_at, c.interval_minutes, c.superseded_at))), 'base64') AS hash
      FROM public.energy_consumption_revisions c
      WHERE c.timestamp >= coalesce(%(first)s::timestamptz, '-infinity') AND c.timestamp < coalesce(%(end)s::timestamptz, 'infinity')
      OFFSET '0') h
GROUP BY date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00')

-- name: sums_of_weather_data_revisions
-- The contents of weather_data_revisions in a range, in blocks of 30 days: (block, rows and the four sums). A copy of
-- audit_sums_query(): see there.
SELECT to_char(date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00') AT TIME ZONE 'UTC', 'YYYY-MM-DD'), count(*)::numeric,
       sum(hashtextextended(h.hash, 1)), sum(hashtextextended(h.hash, 2)), sum(hashtextextended(h.hash, 3)),
       sum(hashtextextended(h.hash, 4))
FROM (SELECT c.timestamp, encode(sha256(record_send(ROW(
          c.city_id, c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation,
          c.created_at, c.available_at, c.interval_minutes, c.superseded_at))), 'base64') AS hash
      FROM public.weather_data_revisions c
      WHERE c.timestamp >= coalesce(%(first)s::timestamptz, '-infinity') AND c.timestamp < coalesce(%(end)s::timestamptz, 'infinity')
      OFFSET '0') h
GROUP BY date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00')

-- name: sums_of_weather_forecasts
-- The contents of weather_forecasts in a range, in blocks of 30 days: (block, rows and the four sums). A copy of
-- audit_sums_query(): see there.
SELECT to_char(date_bin('30 days', h.issued_at, '2000-01-01 00:00:00+00') AT TIME ZONE 'UTC', 'YYYY-MM-DD'), count(*)::numeric,
       sum(hashtextextended(h.hash, 1)), sum(hashtextextended(h.hash, 2)), sum(hashtextextended(h.hash, 3)),
       sum(hashtextextended(h.hash, 4))
FROM (SELECT c.issued_at, encode(sha256(record_send(ROW(
          c.city_id, c.issued_at, c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation,
          c.created_at))), 'base64') AS hash
      FROM public.weather_forecasts c
      WHERE c.timestamp >= coalesce(%(first)s::timestamptz, '-infinity') AND c.timestamp < coalesce(%(end)s::timestamptz, 'infinity')
      OFFSET '0') h
GROUP BY date_bin('30 days', h.issued_at, '2000-01-01 00:00:00+00')

-- name: sums_of_prediction_vintages
-- The contents of prediction_vintages in a range, in blocks of 30 days: (block, rows and the four sums). A copy of
-- audit_sums_query(): see there.
SELECT to_char(date_bin('30 days', h.issued_at, '2000-01-01 00:00:00+00') AT TIME ZONE 'UTC', 'YYYY-MM-DD'), count(*)::numeric,
       sum(hashtextextended(h.hash, 1)), sum(hashtextextended(h.hash, 2)), sum(hashtextextended(h.hash, 3)),
       sum(hashtextextended(h.hash, 4))
FROM (SELECT c.issued_at, encode(sha256(record_send(ROW(
          c.city_id, c.issued_at, c.first_timestamp, c.last_timestamp, c.run_id, c.model_id, c.interval_minutes,
          c.quantile_count, c.predicted_consumption, c.quantiles, c.created_at))), 'base64') AS hash
      FROM public.prediction_vintages c
      WHERE c.issued_at >= coalesce(%(first)s::timestamptz, '-infinity') AND c.issued_at < coalesce(%(end)s::timestamptz, 'infinity')
      OFFSET '0') h
GROUP BY date_bin('30 days', h.issued_at, '2000-01-01 00:00:00+00')
