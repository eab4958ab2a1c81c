-- name: load_batch
-- A load by its id, or without one the newest: its kind, the names of its files, when it was loaded, rows read and rejected.
SELECT id, kind, ARRAY(SELECT f ->> 'name' FROM jsonb_array_elements(files) AS f) AS files, finished_at AS loaded_at, read, rejected
FROM ops.ingest_batches
WHERE %(batch)s::uuid IS NULL OR id = %(batch)s::uuid
ORDER BY finished_at DESC LIMIT 1

-- name: rejected_rows
-- The rejected rows of a load in the files' order, at most so many (null: all).
SELECT file, line, column_name, reason, row_data FROM ops.rejected_rows
WHERE batch_id = %(batch)s ORDER BY file, line LIMIT %(limit)s::bigint
