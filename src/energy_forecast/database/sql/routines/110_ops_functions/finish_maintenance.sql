CREATE OR REPLACE FUNCTION ops.finish_maintenance(run uuid, outcome text, details jsonb)
    RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    UPDATE ops.maintenance_runs r
    SET finished_at = clock_timestamp(), outcome = finish_maintenance.outcome, details = finish_maintenance.details
    WHERE r.id = run AND r.finished_at IS NULL
    RETURNING true
$$;
COMMENT ON FUNCTION ops.finish_maintenance(uuid, text, jsonb) IS
    'Completes the row of a step of maintenance, once';
