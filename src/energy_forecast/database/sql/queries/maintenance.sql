-- name: try_lock
-- Try to take the lock of a maintenance step until the end of the transaction: whether it was free.
SELECT pg_try_advisory_xact_lock(hashtext('energy_forecast maintenance'), hashtext(%(step)s))

-- name: stay_open
-- Let this transaction stay open and idle, however long its work in other sessions takes.
-- Without parameters: of a statement that has some, the server keeps the snapshot, and VACUUM waits for it
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')

-- name: read_only
-- Make this transaction read-only.
SELECT set_config('transaction_read_only', 'on', true)

-- name: close_interrupted
-- Mark the unfinished runs of a step as interrupted.
SELECT count(ops.finish_maintenance(id, 'interrupted', details))
FROM ops.maintenance_runs WHERE step = %(step)s AND finished_at IS NULL

-- name: begin_run
-- Record the start of a step.
INSERT INTO ops.maintenance_runs (id, step) VALUES (%(id)s, %(step)s)

-- name: finish_run
-- Record the outcome of a step.
SELECT ops.finish_maintenance(%(id)s, %(outcome)s, %(details)s)

-- name: retention_due
-- The months that the policies remove; rows are counted only if requested.
SELECT table_name, partition_name, range_start, range_end, kept_lead_hours, row_count, byte_count, revision_count,
       score_count
FROM ops.retention_due(%(counted)s)

-- name: apply_retention
-- Remove or thin one month: outcome, rows, bytes, revisions removed with it, and the reason if it was not removed.
SELECT outcome, row_count, byte_count, revision_count, detail
FROM ops.apply_retention(%(table)s, %(partition)s, %(first)s, %(last)s, %(run)s)

-- name: policies
-- The retention of each table (null: unlimited), its thinning, and the data removed from it so far.
SELECT p.table_name, p.keep::text AS keep, p.thin_after::text AS thin_after, p.kept_lead_hours, p.keep_scored, p.by_month, p.note,
       p.changed_at, p.changed_by::text AS changed_by, d.rows AS dropped_rows, d.last AS dropped_until
FROM ops.retention_policies p
LEFT JOIN LATERAL (
    SELECT sum(row_count)::bigint AS rows, max(range_end) AS last FROM ops.dropped_data
    WHERE table_name = p.table_name) d ON true
ORDER BY p.table_name

-- name: set_policy
-- Change the retention of a table (null: unlimited), and whether scored months stay (null: as before); no row if the
-- policy does not exist.
UPDATE ops.retention_policies
SET keep = %(keep)s::text::interval, keep_scored = coalesce(%(keep_scored)s, keep_scored)
WHERE table_name = %(table)s
RETURNING table_name, keep::text AS keep, keep_scored

-- name: set_thinning
-- Change the age and the lead time of the thinning of a table (nulls: never); no row if it cannot be thinned.
UPDATE ops.retention_policies
SET thin_after = %(thin_after)s::text::interval, kept_lead_hours = %(kept_lead_hours)s
WHERE table_name = %(table)s AND table_name = 'weather_forecasts'
RETURNING table_name, thin_after::text AS thin_after, kept_lead_hours

-- name: ledger
-- The removals by retention, newest first.
SELECT table_name, partition_name, range_start, range_end, row_count, byte_count, encode(digest, 'hex') AS sha256,
       keep::text AS keep, kept_lead_hours, dropped_by::text AS dropped_by, dropped_at
FROM ops.dropped_data
ORDER BY dropped_at DESC, table_name
LIMIT %(limit)s

-- name: refresh_hours
-- Refresh the hourly view and its roll-up: numbers of hours changed, repaired and expired.
SELECT changed AS changed_hours, repaired AS repaired_hours, expired AS expired_hours FROM ops.refresh_hours()

-- name: hourly_differences
-- Hours of which users see other values than the facts: both values, kWh, kW and minutes.
SELECT c.name AS city, d.hour, d.shown_consumption, d.true_consumption, d.shown_peak, d.true_peak, d.shown_minutes,
       d.true_minutes
FROM ops.hourly_differences() d JOIN cities c ON c.id = d.city_id

-- name: pending_hours
-- The number of changed spans that are not in the roll-up yet, and of their cities.
SELECT count(*) AS waiting_spans, count(DISTINCT city_id) AS waiting_cities FROM ops.changed_consumption

-- name: last_refresh
-- The last refresh of the hourly view, the end of its data, its rows and its bytes.
SELECT refreshed_at, data_until, row_count, pg_total_relation_size('hourly_consumption') AS byte_count
FROM (VALUES (1)) AS one
LEFT JOIN ops.view_refreshes ON view_name = 'hourly_consumption'
ORDER BY refreshed_at DESC NULLS LAST
LIMIT 1

-- name: vacuum_tables
-- The targets of VACUUM (tables, partitions, materialized views) and ANALYZE (parents, which autovacuum never
-- analyzes).
SELECT n.nspname AS schema_name, c.relname AS table_name, c.relkind = 'p' AS is_parent, c.relispartition AS is_partition,
       coalesce(s.n_dead_tup, 0) AS dead_rows, size.byte_count
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
CROSS JOIN LATERAL pg_total_relation_size(c.oid) AS size(byte_count)
-- Null if another session dropped it since this query began
WHERE size.byte_count IS NOT NULL AND n.nspname IN ('public', 'ops') AND c.relkind IN ('r', 'm', 'p') AND pg_get_userbyid(c.relowner) = 'energy_forecast_owner'
ORDER BY c.relkind = 'p', n.nspname DESC, c.relname
