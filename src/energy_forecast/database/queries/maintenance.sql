-- name: try_lock
-- Whether this session now holds the lock of a step of maintenance; else somebody else does.
SELECT pg_try_advisory_lock(hashtext('energy_forecast maintenance'), hashtext(%(step)s))

-- name: read_only
-- Makes this transaction one that can change nothing.
SELECT set_config('transaction_read_only', 'on', true)

-- name: close_interrupted
-- Completes the rows of runs of a step that ended without a word.
SELECT count(ops.finish_maintenance(id, 'interrupted', details))
FROM ops.maintenance_runs WHERE step = %(step)s AND finished_at IS NULL

-- name: begin_run
-- Records that a step begins.
INSERT INTO ops.maintenance_runs (id, step) VALUES (%(id)s, %(step)s)

-- name: finish_run
-- Records how it ended.
SELECT ops.finish_maintenance(%(id)s, %(outcome)s, %(details)s)

-- name: retention_due
-- What the policies say should go, month by month; rows are counted only if asked for.
SELECT table_name, partition_name, range_start, range_end, row_count, byte_count, revision_count, score_count
FROM ops.retention_due(%(counted)s)

-- name: apply_retention
-- Takes one of these away: outcome, rows, bytes, revisions that went with it, and why not.
SELECT outcome, row_count, byte_count, revision_count, detail
FROM ops.apply_retention(%(table)s, %(partition)s, %(first)s, %(last)s, %(run)s)

-- name: policies
-- How long each table is kept (null: for ever), and what retention has taken from it so far.
SELECT p.table_name, p.keep::text AS keep, p.by_month, p.note, p.changed_at, p.changed_by::text AS changed_by,
       d.rows AS dropped_rows, d.last AS dropped_until
FROM ops.retention_policies p
LEFT JOIN LATERAL (
    SELECT sum(row_count)::bigint AS rows, max(range_end) AS last FROM ops.dropped_data
    WHERE table_name = p.table_name) d ON true
ORDER BY p.table_name

-- name: set_policy
-- Changes how long a table is kept; null for ever. No row when there is no such policy.
UPDATE ops.retention_policies
SET keep = %(keep)s::text::interval
WHERE table_name = %(table)s
RETURNING table_name, keep::text AS keep

-- name: ledger
-- What retention took away, newest first.
SELECT table_name, partition_name, range_start, range_end, row_count, byte_count, encode(digest, 'hex') AS sha256,
       keep::text AS keep, dropped_by::text AS dropped_by, dropped_at
FROM ops.dropped_data
ORDER BY dropped_at DESC, table_name
LIMIT %(limit)s

-- name: refresh_hours
-- Refreshes the hourly view and its roll-up: hours that had changed, that were wrong and were mended, that were too old.
SELECT folded AS folded_hours, mended AS mended_hours, expired AS expired_hours FROM ops.refresh_hours()

-- name: hourly_differences
-- Hours of which people read something else than the facts say: both, kWh, kW and minutes.
SELECT c.name AS city, d.hour, d.shown_consumption, d.true_consumption, d.shown_peak, d.true_peak, d.shown_minutes,
       d.true_minutes
FROM ops.hourly_differences() d JOIN cities c ON c.id = d.city_id

-- name: pending_hours
-- Spans of hours that are not folded in yet, and of how many cities.
SELECT count(*) AS waiting_spans, count(DISTINCT city_id) AS waiting_cities FROM ops.changed_consumption

-- name: last_refresh
-- When the hourly view was last refreshed, up to what data, and its rows and bytes.
SELECT refreshed_at, data_until, row_count, pg_total_relation_size('hourly_consumption') AS byte_count
FROM (VALUES (1)) AS one
LEFT JOIN ops.view_refreshes ON view_name = 'hourly_consumption'
ORDER BY refreshed_at DESC NULLS LAST
LIMIT 1

-- name: vacuum_tables
-- What VACUUM (tables, partitions, materialized views) and ANALYZE (parents, whose statistics autovacuum never makes) are for.
SELECT n.nspname AS schema_name, c.relname AS table_name, c.relkind = 'p' AS is_parent, c.relispartition AS is_partition,
       coalesce(s.n_dead_tup, 0) AS dead_rows, size.byte_count
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
CROSS JOIN LATERAL pg_total_relation_size(c.oid) AS size(byte_count)
-- Null: dropped by another session since this query began
WHERE size.byte_count IS NOT NULL AND n.nspname IN ('public', 'ops') AND c.relkind IN ('r', 'm', 'p') AND pg_get_userbyid(c.relowner) = 'energy_forecast_owner'
ORDER BY c.relkind = 'p', n.nspname DESC, c.relname
