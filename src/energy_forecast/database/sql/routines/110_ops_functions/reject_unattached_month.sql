/* At commit: a month's table that was not attached would remain in ops without row-level security, which can only be enabled
   after its rows are inserted. */
CREATE OR REPLACE FUNCTION ops.reject_unattached_month() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF ops.loading_table(NEW.partition_name) IS NOT NULL THEN
        RAISE EXCEPTION 'The month % was begun and is not attached', NEW.partition_name
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Call ops.attach_months() in the same transaction, or roll it back.';
    END IF;
    DELETE FROM ops.begun_months b WHERE b.transaction_id = pg_current_xact_id();
    RETURN NULL;
END $$;
COMMENT ON FUNCTION ops.reject_unattached_month() IS
    'Rejects the commit of a transaction that has begun a month with ops.begin_month() and not attached it';
