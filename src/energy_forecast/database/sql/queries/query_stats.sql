-- name: statistics
-- Whether the server collects statement statistics, this database can show them, and the current role may read every
-- statement's text.
SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max'),
       EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements'),
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)

-- name: worst
-- The costliest statements, in milliseconds, rows and blocks of 8 kB; `share` is the share of the total time, from 0 to
-- 1.
/* pg_stat_statements replaces the values of SELECT, INSERT, UPDATE, DELETE and MERGE by $1. Other statements, and those that
   were prepared before the last reset, keep their values and are not returned; an unreadable text is. */
WITH costs AS (
    SELECT *, total_ms / nullif(sum(total_ms) OVER (), 0) AS share,
           regexp_replace(query, '/\*([^*]|\*+[^*/])*\*+/|--[^\n]*', ' ', 'g') AS statement
    FROM ops.statement_costs())
SELECT btrim(regexp_replace(statement, '\s+', ' ', 'g')) AS query, role_names, calls, total_ms, mean_ms, max_ms, row_count,
       blocks_read, blocks_hit, share
FROM costs
WHERE statement ~* '^[\s(]*(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|TABLE)\M|^<insufficient privilege>$'
  AND statement !~ '''|\$\w*\$'
ORDER BY CASE %(by)s::text WHEN 'total' THEN total_ms WHEN 'mean' THEN mean_ms WHEN 'calls' THEN calls
                           WHEN 'rows' THEN row_count WHEN 'reads' THEN blocks_read END DESC, total_ms DESC, query
LIMIT %(limit)s
