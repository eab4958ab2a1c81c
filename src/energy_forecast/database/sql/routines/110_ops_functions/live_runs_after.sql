/* The chain has each live run in the order of the commits, and whoever sees a position also sees all positions before it (see
   changes_since). So a run is never passed over, however long its transaction was open. */
CREATE OR REPLACE FUNCTION ops.live_runs_after(place bigint)
    RETURNS TABLE (sequence bigint, run_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    WITH head AS (
        SELECT max(c.sequence) AS sequence FROM ops.audit_chain c
    ), runs AS (
        SELECT c.sequence, (a.new_data ->> 'id')::uuid AS run_id
        FROM ops.audit_chain c JOIN public.audit_log a ON a.id = c.audit_id
        WHERE c.sequence > place AND c.sequence <= (SELECT h.sequence FROM head h)
          AND a.table_name = 'forecast_runs' AND a.action = 'INSERT'
        ORDER BY c.sequence
        LIMIT 100
    )
    SELECT r.sequence, r.run_id FROM runs r
    UNION ALL
    SELECT h.sequence, NULL FROM head h WHERE (SELECT count(*) FROM runs) < 100
    ORDER BY 1, 2
$$;
COMMENT ON FUNCTION ops.live_runs_after(bigint) IS
    'The first 100 live runs after a position of the audit chain, in the order of their commits. If there are fewer, the last row has only the newest position';
