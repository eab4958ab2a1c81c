/* Each row is hashed by SHA-256, with its created_at. Four 64-bit parts of the hashes are summed in blocks of 30 days,
   counted from 2000: to find the month of a row was a quarter of the whole cost. The sums do not depend on the order of
   rows, and the sums over all entries must equal those of the stored rows, which `doctor audit` compares. It needs one pass
   without a sort, so it costs no more than a digest of the rows in key order.

   Arguments: the source of the rows, as `c`; the time column for the blocks; the hashed columns. */
CREATE OR REPLACE FUNCTION audit_sums_query(source text, block_column text, hashed text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format($query$
        SELECT coalesce(bool_and(b.created_now), true) AS created_now, array_agg(DISTINCT b.city_id) AS cities,
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
                       min(h.%2$I) AS first, max(h.%2$I) AS last, bool_and(h.created_at = now()) AS created_now,
                       sum(hashtextextended(h.hash, 1)) AS sum_1, sum(hashtextextended(h.hash, 2)) AS sum_2,
                       sum(hashtextextended(h.hash, 3)) AS sum_3, sum(hashtextextended(h.hash, 4)) AS sum_4
                -- OFFSET, because otherwise the hash would be computed four times. As text, because the planner sees no
                -- constant in a number with a cast, and then uses no parallel workers
                FROM (SELECT c.*, encode(sha256(record_send(ROW(%3$s))), 'base64') AS hash FROM %1$s OFFSET '0') h
                GROUP BY h.city_id, date_bin('30 days', h.%2$I, '2000-01-01 00:00:00+00')) d
            WINDOW w AS (PARTITION BY d.block)) b $query$, source, block_column, hashed)
$$;
COMMENT ON FUNCTION audit_sums_query(text, text, text) IS
    'The query for the checksums of bulk facts in audit_log: created_now, cities, summary (null: no row)';
