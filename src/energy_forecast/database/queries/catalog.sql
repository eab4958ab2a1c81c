-- name: tables
-- Every table of the platform except partitions: name, comment, partition key.
SELECT c.oid, CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END AS name,
       obj_description(c.oid, 'pg_class') AS comment, pg_get_partkeydef(c.oid) AS partition_key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname IN ('public', 'ops')
  AND c.relname <> 'alembic_version'
ORDER BY n.nspname DESC, c.relname

-- name: columns
-- The columns of a table.
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable,
       coalesce(col_description(a.attrelid, a.attnum), '') AS comment
FROM pg_attribute a
WHERE a.attrelid = %(table)s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: rules
-- The constraints of a table except NOT NULL, and the indexes that do not belong to a constraint.
SELECT conname AS name, pg_get_constraintdef(oid) AS definition, 0 AS place
FROM pg_constraint WHERE conrelid = %(table)s AND contype <> 'n'
UNION ALL
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), 1
FROM pg_index i
WHERE i.indrelid = %(table)s AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid AND contype <> 'f')
ORDER BY place, name
