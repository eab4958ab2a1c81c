/* AFTER a statement that inserted vintages: a run is complete when its transaction ends, and cannot be extended later.
   created_at alone does not show this: two transactions can begin in the same microsecond, and a transaction can stay open
   until the load is known. A run that was inserted under a savepoint has another transaction id and is rejected as well. */
CREATE OR REPLACE FUNCTION check_new_vintages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.forecast_runs r
        WHERE r.id IN (SELECT a.run_id FROM added a)
          AND (r.created_at <> CURRENT_TIMESTAMP OR r.xmin <> pg_current_xact_id()::xid)) THEN
        RAISE EXCEPTION 'INSERT on % is refused: a run and its vintages must be inserted in one transaction', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF clock_timestamp() - CURRENT_TIMESTAMP > TG_ARGV[0]::interval THEN
        RAISE EXCEPTION 'INSERT on % is refused: the transaction began more than % ago', TG_TABLE_NAME, TG_ARGV[0]
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION check_new_vintages() IS
    'Rejects vintages of a run of another transaction, and vintages of a transaction older than the limit in the argument';
