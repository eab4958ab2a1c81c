-- name: archiver
-- State of WAL archiving: (on, segments archived, last one, its age in seconds, whether the last failed segment still
-- waits, waiting segments).
SELECT current_setting('archive_mode') = 'on', a.archived_count, a.last_archived_wal,
       extract(epoch FROM clock_timestamp() - a.last_archived_time)::float8, w.failing, w.waiting
FROM pg_stat_archiver a, LATERAL (
    SELECT coalesce(array_agg(replace(name, '.ready', '') ORDER BY name), '{}') AS waiting,
           coalesce(bool_or(name = a.last_failed_wal || '.ready'), false) AS failing
    FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') w

-- name: restore_point
-- Write a restore point into the WAL: (its LSN).
SELECT pg_create_restore_point(%(label)s)::text

-- name: switch_wal
-- Switch to a new segment, so that the present one is archived: (its name, its end).
SELECT pg_walfile_name(ended), ended::text FROM pg_switch_wal() ended

-- name: position
-- The present WAL position: (LSN, timeline, system identifier).
SELECT pg_current_wal_insert_lsn()::text, (SELECT timeline_id FROM pg_control_checkpoint()),
       (SELECT system_identifier::text FROM pg_control_system())

-- name: has_point
-- Whether the ledger has a restore point with this name.
SELECT EXISTS (SELECT FROM ops.restore_points WHERE name = %(name)s)

-- name: record_point
-- Record a restore point in the ledger: its name; no row if the name is in use.
INSERT INTO ops.restore_points (name, label, lsn, timeline, tables)
VALUES (%(name)s, %(label)s, %(lsn)s::pg_lsn, %(timeline)s, %(tables)s::jsonb)
ON CONFLICT (name) DO NOTHING RETURNING name

-- name: lockable_tables
-- Every table that is locked against writers during a restore point: (schema, name).
SELECT n.nspname::text, c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2

-- name: replay
-- Progress of recovery: (in recovery, paused at the target, last replayed LSN, time of the last commit).
SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' END,
       pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp()

-- name: resume
-- End recovery: the server accepts writes from now on.
SELECT pg_wal_replay_resume()

-- name: unarchived_age
-- Seconds since the last WAL was archived, or since the server start if none was; 0 if almost nothing was written
-- since, negative after a clock was set back.
/* A segment is archived shortly after its end was written; the records of a checkpoint alone do not count. */
SELECT CASE WHEN a.last_archived_wal IS NOT NULL AND w.waiting = 0
                 AND pg_walfile_name(pg_current_wal_insert_lsn()) > a.last_archived_wal
                 AND pg_current_wal_insert_lsn() - p.begins < 1024 THEN 0
            ELSE extract(epoch FROM clock_timestamp() - coalesce(a.last_archived_time, pg_postmaster_start_time()))
       END::float8
FROM pg_stat_archiver a,
    LATERAL (SELECT count(*) AS waiting FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') w,
    LATERAL (SELECT pg_current_wal_insert_lsn() - file_offset AS begins
             FROM pg_walfile_name_offset(pg_current_wal_insert_lsn())) p

-- name: incomplete_batches
-- Batches among the newest 200 with fewer stored rows than in the ledger: (id, kind, rows in the ledger, stored rows).
/* The rows of a batch have its created_at, in the table or its revisions. Rows dropped by retention or replaced from a
   copy are missing legitimately, so only newer batches count. */
WITH recent AS (
    SELECT id, kind, inserted + corrected AS written, created_at FROM ops.ingest_batches
    WHERE kind IN ('consumption', 'weather')
      AND created_at > coalesce((SELECT max(dropped_at) FROM ops.dropped_data), '-infinity')
      AND created_at > coalesce(
          (SELECT max(finished_at) FROM ops.recovery_checks WHERE kind = 'copy-back'), '-infinity')
    ORDER BY created_at DESC LIMIT 200
), there AS (
    SELECT 'consumption' AS kind, created_at, count(*) AS rows FROM (
        SELECT created_at FROM public.energy_consumption UNION ALL
        SELECT created_at FROM public.energy_consumption_revisions) rows
    WHERE created_at >= (SELECT min(created_at) FROM recent) GROUP BY created_at
    UNION ALL
    SELECT 'weather', created_at, count(*) FROM (
        SELECT created_at FROM public.weather_data UNION ALL
        SELECT created_at FROM public.weather_data_revisions) rows
    WHERE created_at >= (SELECT min(created_at) FROM recent) GROUP BY created_at
)
SELECT r.id::text, r.kind, r.written, coalesce(t.rows, 0)
FROM recent r LEFT JOIN there t USING (kind, created_at)
WHERE coalesce(t.rows, 0) < r.written
ORDER BY r.created_at

-- name: as_of_digest
-- The load of one city in its last 30 days, as known at their end: (city, intervals, digest).
SELECT c.name::text, count(a.timestamp), coalesce(sum(hashtextextended(a::text, 0)), 0)::text
FROM (SELECT id, name FROM public.cities ORDER BY name LIMIT 1) c,
    LATERAL (SELECT max(available_at) AS moment FROM public.energy_consumption WHERE city_id = c.id) newest
    LEFT JOIN LATERAL public.consumption_as_of(c.id, moment, moment - interval '30 days', moment) a ON true
GROUP BY c.name

-- name: copy_city_statements
-- The statements that copy one city's rows of a table: (delete, copy out, copy in, delete revisions that are current
-- again or null); no row if the table has no cities or the city does not exist.
SELECT format('DELETE FROM %%I.%%I WHERE city_id = %%L', n.nspname, c.relname, city.id),
       format('COPY (SELECT %%s FROM %%I.%%I WHERE city_id = %%L) TO STDOUT (FORMAT binary)', columns.list, n.nspname, c.relname, city.id),
       format('COPY %%I.%%I (%%s) FROM STDIN (FORMAT binary)', n.nspname, c.relname, columns.list),
       CASE WHEN to_regclass(format('%%I.%%I', n.nspname, c.relname || '_revisions')) IS NOT NULL THEN
           format('DELETE FROM %%1$I.%%3$I old USING %%1$I.%%2$I now WHERE now.city_id = %%4$L AND old.city_id = now.city_id'
                  ' AND old.timestamp = now.timestamp AND old.available_at = now.available_at'
                  ' AND old.created_at = now.created_at', n.nspname, c.relname, c.relname || '_revisions', city.id)
       END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, public.cities city,
    LATERAL (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) AS list, bool_or(attname = 'city_id') AS of_cities
             FROM pg_attribute
             WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '') columns
WHERE c.oid = to_regclass(%(table)s) AND columns.of_cities AND city.name = %(city)s

-- name: score_again
-- Add all hours of a city, or of every city if it is null, to the hours to score.
INSERT INTO ops.hours_to_score (city_id)
VALUES ((SELECT id FROM public.cities WHERE name = %(city)s))

-- name: table_with_partitions
-- A table and its partitions as names for pg_dump; no row if the table does not exist.
WITH RECURSIVE part AS (
    SELECT to_regclass(%(table)s)::oid AS oid WHERE to_regclass(%(table)s) IS NOT NULL
    UNION ALL
    SELECT i.inhrelid FROM part JOIN pg_inherits i ON i.inhparent = part.oid
)
SELECT format('%%I.%%I', n.nspname, c.relname)
FROM part JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace

-- name: trigger_statements
-- For each trigger of a table that rejects or rewrites restored rows: (statement that disables it, statement that
-- enables it as before).
/* Triggers that audit rows, or record which hours of the roll-up changed, stay enabled; disabling the others is a schema
   change, which is audited. */
SELECT format('ALTER TABLE %%I.%%I DISABLE TRIGGER %%I', n.nspname, c.relname, t.tgname),
       format('ALTER TABLE %%I.%%I ENABLE %%s TRIGGER %%I', n.nspname, c.relname,
              CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, t.tgname)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgrelid = to_regclass(%(table)s) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
  AND t.tgname NOT IN ('audit_insert', 'audit_delete', 'audit_row', 'record_changed_insert', 'record_changed_delete')
ORDER BY t.tgname
