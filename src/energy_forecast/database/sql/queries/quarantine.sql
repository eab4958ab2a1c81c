-- name: load_batch
-- A batch by id, or the newest if the id is null.
-- Columns: kind, file names, load time, rows read and rejected, cells left empty, entries kept, and counts by reason.
SELECT id, kind, ARRAY(SELECT f ->> 'name' FROM jsonb_array_elements(files) AS f) AS files, finished_at AS loaded_at, read,
       rejected, cells_left_empty, reasons, (SELECT count(*) FROM ops.rejected_rows r WHERE r.batch_id = b.id) AS kept
FROM ops.ingest_batches b
WHERE %(batch)s::uuid IS NULL OR id = %(batch)s::uuid
ORDER BY finished_at DESC LIMIT 1

-- name: rejected_rows
-- The rejected rows and empty cells of a batch in file order, at most `limit` (null: all).
SELECT file, line, column_name, reason, row_data, cell_only FROM ops.rejected_rows
WHERE batch_id = %(batch)s ORDER BY file, line LIMIT %(limit)s::bigint
