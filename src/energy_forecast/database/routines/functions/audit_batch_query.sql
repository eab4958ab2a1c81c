/* The rows are digested by city and block of time, in the order of their key, and the digests of the blocks once more: so
   the order of arrival changes nothing, and no more than a block is in memory at once. The same pass tells whether a row
   claims another moment of recording than this transaction's. Blocks are of equal length, counted from 2000 on: to find
   the month of a row was a quarter of the whole cost.

   The arguments: where the rows are, the column of time that makes blocks, the length of one, the columns of the key
   after the city, the columns that are digested. */
CREATE OR REPLACE FUNCTION audit_batch_query(source text, block_column text, block_length text, key text, digested text)
    RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format($query$
        SELECT coalesce(bool_and(b.honest), true) AS honest, array_agg(DISTINCT b.city_id) AS cities,
               CASE WHEN count(*) > 0 THEN jsonb_build_object(
                   'rows', sum(b.row_count)::bigint, 'cities', count(DISTINCT b.city_id),
                   'digest', encode(sha256(string_agg(b.digest, ''::bytea ORDER BY b.city_id, b.block)), 'hex'),
                   'first', to_char(min(b.first) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                   'last', to_char(max(b.last) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) END AS summary
        FROM (
            SELECT c.city_id, date_bin(%2$L, c.%1$I, '2000-01-01 00:00:00+00') AS block, count(*) AS row_count,
                   min(c.timestamp) AS first, max(c.timestamp) AS last, bool_and(c.created_at = now()) AS honest,
                   sha256(uuid_send(c.city_id) || string_agg(record_send(ROW(%4$s)), ''::bytea ORDER BY %3$s)) AS digest
            FROM %5$s c
            GROUP BY c.city_id, date_bin(%2$L, c.%1$I, '2000-01-01 00:00:00+00')
        ) b $query$, block_column, block_length, key, digested, source)
$$;
COMMENT ON FUNCTION audit_batch_query(text, text, text, text, text) IS
    'The query that sums up and digests bulk facts for their entry of audit_log: honest, cities, summary (null: no row)';
