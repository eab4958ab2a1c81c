CREATE OR REPLACE FUNCTION ops.delete_month(
    relation text, first_time timestamptz, last_time timestamptz, run uuid DEFAULT NULL,
    OUT outcome text, OUT row_count bigint, OUT byte_count bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET lock_timeout = '5s'
    AS $$
DECLARE
    policy record;
    removed record;
BEGIN
    SELECT * INTO policy FROM ops.retention_policies r WHERE r.table_name = relation AND NOT r.by_month;
    IF NOT FOUND OR policy.keep IS NULL OR last_time > now() - policy.keep THEN
        outcome := 'not due';
        RETURN;
    END IF;
    removed := ops.digest_rows(relation, CASE relation WHEN 'rejected_rows' THEN 'created_at' ELSE 'timestamp' END,
                             first_time, last_time, true);
    row_count := removed.row_count;
    byte_count := removed.byte_count;
    outcome := CASE WHEN row_count = 0 THEN 'gone' ELSE 'deleted' END;
    IF row_count > 0 THEN
        INSERT INTO ops.dropped_data (run_id, table_name, range_start, range_end, row_count, byte_count, digest, keep)
        VALUES (run, relation, first_time, last_time, removed.row_count, removed.byte_count, removed.digest, policy.keep);
    END IF;
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    outcome := 'busy';
    row_count := NULL;
    byte_count := NULL;
END $$;
COMMENT ON FUNCTION ops.delete_month(text, timestamptz, timestamptz, uuid) IS
    'Deletes the rows of a range that the policy no longer keeps, with a row in ops.dropped_data: deleted, gone, not due or busy';
