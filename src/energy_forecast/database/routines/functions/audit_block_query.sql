/* Rows are digested by city and block of time, in the order of their key, and the digests of the blocks once more by
   audit_batch_query(): so the order of arrival changes nothing, and no more than a block is in memory at once. Blocks are of
   equal length, counted from 2000 on: to find the month of a row was a quarter of the whole cost.

   The arguments: where the rows are, as `c`; the block of one, a moment; the columns of the key after the city; the
   columns that are digested. */
CREATE OR REPLACE FUNCTION audit_block_query(source text, block text, key text, digested text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT format($query$
        SELECT c.city_id, %1$s AS block, count(*) AS row_count, min(c.timestamp) AS first, max(c.timestamp) AS last,
               bool_and(c.created_at = now()) AS honest,
               sha256(uuid_send(c.city_id) || string_agg(record_send(ROW(%3$s)), ''::bytea ORDER BY %2$s)) AS digest
        FROM %4$s
        GROUP BY c.city_id, %1$s $query$, block, key, digested, source)
$$;
COMMENT ON FUNCTION audit_block_query(text, text, text, text) IS
    'The query that sums up and digests bulk facts by city and block of time';
