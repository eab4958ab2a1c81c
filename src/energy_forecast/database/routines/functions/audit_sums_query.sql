/* Each row is hashed by SHA-256, with its moment of recording. Four 64-bit parts of the hashes are added up by blocks of 30
   days, counted from 2000 on: to find the month of a row was a quarter of the whole cost. Sums do not depend on the order,
   and the sums of entries add up: those of all entries have to be those of the rows that are stored, which `doctor audit`
   compares. No sort and one pass, so it costs no more than a digest of the rows in the order of their key did.

   The arguments: where the rows are, as `c`; the column of time that makes blocks; the columns that are hashed. */
CREATE OR REPLACE FUNCTION audit_sums_query(source text, block_column text, hashed text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format($query$
        SELECT coalesce(bool_and(b.honest), true) AS honest, array_agg(DISTINCT b.city_id) AS cities,
               CASE WHEN count(*) > 0 THEN jsonb_build_object(
                   'rows', sum(b.row_count)::bigint, 'cities', count(DISTINCT b.city_id),
                   'first', to_char(min(b.first) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                   'last', to_char(max(b.last) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                   'sums', jsonb_object_agg(to_char(b.block AT TIME ZONE 'UTC', 'YYYY-MM-DD'), b.sums) FILTER (WHERE b.is_first))
               END AS summary
        FROM (
            SELECT d.*, row_number() OVER (PARTITION BY d.block) = 1 AS is_first,
                   jsonb_build_array(sum(d.row_count) OVER w, sum(d.sum_1) OVER w, sum(d.sum_2) OVER w, sum(d.sum_3) OVER w,
                                     sum(d.sum_4) OVER w) AS sums
            FROM (
                SELECT h.city_id, date_bin('30 days', h.%2$I, '2000-01-01 00:00:00+00') AS block, count(*) AS row_count,
                       min(h.timestamp) AS first, max(h.timestamp) AS last, bool_and(h.created_at = now()) AS honest,
                       sum(hashtextextended(h.hash, 1)) AS sum_1, sum(hashtextextended(h.hash, 2)) AS sum_2,
                       sum(hashtextextended(h.hash, 3)) AS sum_3, sum(hashtextextended(h.hash, 4)) AS sum_4
                -- OFFSET: else the hash would be worked out four times
                FROM (SELECT c.*, encode(sha256(record_send(ROW(%3$s))), 'base64') AS hash FROM %1$s OFFSET 0) h
                GROUP BY h.city_id, date_bin('30 days', h.%2$I, '2000-01-01 00:00:00+00')) d
            WINDOW w AS (PARTITION BY d.block)) b $query$, source, block_column, hashed)
$$;
COMMENT ON FUNCTION audit_sums_query(text, text, text) IS
    'The query that sums up bulk facts for an entry of audit_log: honest, cities, summary (null: no row)';
