-- The same pass tells whether a row claims another moment of recording than this transaction's
CREATE OR REPLACE FUNCTION audit_batch_query(blocks text) RETURNS text
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
        FROM (%s) b $query$, blocks)
$$;
COMMENT ON FUNCTION audit_batch_query(text) IS
    'The query that makes an entry of audit_log of the blocks of bulk facts: honest, cities, summary (null: no row)';
