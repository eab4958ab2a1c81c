-- name: tables
-- Every table of the platform except partitions: name, comment, partition key.
SELECT c.oid, CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END AS name,
       obj_description(c.oid, 'pg_class') AS comment, pg_get_partkeydef(c.oid) AS partition_key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname IN ('public', 'ops')
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

-- name: references
-- The foreign keys of all tables: table, columns, referenced table, and whether the columns are nullable or the key.
SELECT CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END AS "table",
       array_agg(a.attname::text ORDER BY a.attnum) AS columns,
       CASE r.relnamespace WHEN 'public'::regnamespace THEN r.relname ELSE 'ops.' || r.relname END AS referenced,
       NOT bool_and(a.attnotnull) AS nullable,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL
               AND i.indnkeyatts = cardinality(k.conkey) AND k.conkey <@ i.indkey::smallint[]) AS is_unique
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class r ON r.oid = k.confrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (k.conkey)
WHERE k.contype = 'f' AND NOT c.relispartition AND n.nspname IN ('public', 'ops')
GROUP BY c.oid, n.nspname, c.relname, r.relnamespace, r.relname, k.oid, k.conkey
ORDER BY "table", columns

-- name: views
-- Every view of the platform: name, whether it is materialized, columns, comment, the roles that may read it.
SELECT c.relname AS name, c.relkind = 'm' AS is_materialized,
       (SELECT string_agg(a.attname, ', ' ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       obj_description(c.oid, 'pg_class') AS comment,
       (SELECT array_agg(DISTINCT x.grantee::regrole::text ORDER BY x.grantee::regrole::text)
        FROM aclexplode(c.relacl) x WHERE x.privilege_type = 'SELECT' AND x.grantee NOT IN (0, c.relowner)) AS roles
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND n.nspname IN ('public', 'ops')
ORDER BY c.relname

-- name: routines
-- Every function and procedure that a role other than the owner may execute: name, arguments, result, comment, roles.
SELECT CASE n.nspname WHEN 'public' THEN p.proname ELSE n.nspname || '.' || p.proname END AS name,
       pg_get_function_arguments(p.oid) AS arguments, coalesce(pg_get_function_result(p.oid), '') AS result,
       p.prokind = 'p' AS is_procedure, obj_description(p.oid, 'pg_proc') AS comment,
       array_agg(DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END) AS roles
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
CROSS JOIN LATERAL aclexplode(p.proacl) x
WHERE n.nspname IN ('public', 'ops') AND x.privilege_type = 'EXECUTE'
  AND x.grantee NOT IN (p.proowner, 'energy_forecast_owner'::regrole)
GROUP BY p.oid, n.nspname, p.proname
ORDER BY n.nspname DESC, p.proname
