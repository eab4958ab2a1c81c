-- name: load_batch
-- A load by its id, or without one the newest: its kind, the names of its files, when it was loaded, rows read and rejected,
-- cells left empty, how many of these are kept, and their number for each reason.
SELECT id, kind, ARRAY(SELECT f ->> 'name' FROM jsonb_array_elements(files) AS f) AS files, finished_at AS loaded_at, read,
       rejected, cells_left_empty, reasons, (SELECT count(*) FROM ops.rejected_rows r WHERE r.batch_id = b.id) AS kept
FROM ops.ingest_batches b
WHERE %(batch)s::uuid IS NULL OR id = %(batch)s::uuid
ORDER BY finished_at DESC LIMIT 1

-- name: rejected_rows
-- The rejected rows and the empty cells of a load in the files' order, at most so many (null: all).
SELECT file, line, column_name, reason, row_data, cell_only FROM ops.rejected_rows
WHERE batch_id = %(batch)s ORDER BY file, line LIMIT %(limit)s::bigint
