-- name: archiver
-- How archiving goes: (on, segments archived, last of them, its age in seconds, whether the last that failed still waits, segments that wait).
SELECT current_setting('archive_mode') = 'on', a.archived_count, a.last_archived_wal,
       extract(epoch FROM clock_timestamp() - a.last_archived_time)::float8, w.failing, w.waiting
FROM pg_stat_archiver a, LATERAL (
    SELECT count(*) AS waiting, coalesce(bool_or(name = a.last_failed_wal || '.ready'), false) AS failing
    FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') w

-- name: waiting_segments
-- The segments that wait for being archived, oldest first.
SELECT replace(name, '.ready', '') FROM pg_ls_archive_statusdir() WHERE name ~ '^[0-9A-F]{24}\.ready$' ORDER BY name

-- name: restore_point
-- Writes a restore point into the WAL: (its LSN).
SELECT pg_create_restore_point(%(label)s)::text

-- name: switch_wal
-- Ends the present segment, so that it is archived: (its name, where it ended).
SELECT pg_walfile_name(ended), ended::text FROM pg_switch_wal() ended

-- name: position
-- Where the WAL is now: (LSN, timeline, system identifier).
SELECT pg_current_wal_insert_lsn()::text, (SELECT timeline_id FROM pg_control_checkpoint()),
       (SELECT system_identifier::text FROM pg_control_system())

-- name: lsn_difference
-- Bytes of WAL from one place to another.
SELECT pg_wal_lsn_diff(%(last)s::pg_lsn, %(first)s::pg_lsn)::bigint

-- name: has_point
-- Whether a restore point of this name is in the ledger.
SELECT EXISTS (SELECT FROM ops.restore_points WHERE name = %(name)s)

-- name: record_point
-- Writes a restore point into the ledger, unless there is one of that name; returns its name.
INSERT INTO ops.restore_points (name, label, lsn, timeline, tables)
VALUES (%(name)s, %(label)s, %(lsn)s::pg_lsn, %(timeline)s, %(tables)s::jsonb)
ON CONFLICT (name) DO NOTHING RETURNING name

-- name: lockable_tables
-- Every table whose writers are held for the moment of a restore point: (schema, name).
SELECT n.nspname::text, c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2

-- name: replay
-- How recovery goes: (in recovery, paused at the target, last replayed LSN, time of the last commit).
SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' END,
       pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp()

-- name: resume
-- Ends recovery: the server takes the data as they are and may be written to.
SELECT pg_wal_replay_resume()

-- name: unarchived_age
-- Seconds since the last WAL was archived, or the server was started before any was; 0 where hardly anything was written since, below 0 after a clock was set back.
/* A segment's end is archived a moment after it was written; a checkpoint's own records count for nothing. */
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
-- Of the newest 200 batches, those of which fewer rows are there than the ledger says: (id, kind, rows by the ledger, rows that are there).
/* A batch's rows carry its created_at, here or among the revisions. What retention has dropped, or a copy's rows have
   replaced, is missing rightly; so only a batch that is newer counts. */
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
-- What one city's load of 30 days was, as known at the last of them: (city, intervals, digest).
SELECT c.name::text, count(a.timestamp), coalesce(sum(hashtextextended(a::text, 0)), 0)::text
FROM (SELECT id, name FROM public.cities ORDER BY name LIMIT 1) c,
    LATERAL (SELECT max(available_at) AS moment FROM public.energy_consumption WHERE city_id = c.id) newest
    LEFT JOIN LATERAL public.consumption_as_of(c.id, moment, moment - interval '30 days', moment) a ON true
GROUP BY c.name

-- name: copy_city_statements
-- What copies one city's rows of a table: (delete, copy out, copy in, what takes revisions away that stand in the table again, if it has any); nothing where the table has no cities or there is no such city.
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

-- name: table_with_partitions
-- A table and its partitions as pg_dump wants them; nothing where there is no such table.
WITH RECURSIVE part AS (
    SELECT to_regclass(%(table)s)::oid AS oid WHERE to_regclass(%(table)s) IS NOT NULL
    UNION ALL
    SELECT i.inhrelid FROM part JOIN pg_inherits i ON i.inhparent = part.oid
)
SELECT format('%%I.%%I', n.nspname, c.relname)
FROM part JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace

-- name: trigger_statements
-- For the triggers of a table that refuse or rewrite rows which are put back: (statement that disables one, statement that enables it as it is).
/* Those that write a removal into the audit log stay; disabling the others is a change of the schema, which is audited. */
SELECT format('ALTER TABLE %%I.%%I DISABLE TRIGGER %%I', n.nspname, c.relname, t.tgname),
       format('ALTER TABLE %%I.%%I ENABLE %%s TRIGGER %%I', n.nspname, c.relname,
              CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, t.tgname)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.tgrelid = to_regclass(%(table)s) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
  AND t.tgname NOT IN ('audit_delete', 'audit_row')
ORDER BY t.tgname
