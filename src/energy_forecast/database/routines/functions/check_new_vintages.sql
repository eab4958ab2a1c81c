/* AFTER a statement that inserted vintages: a run is whole when its transaction ends, so nobody adds to it later. created_at
   alone does not show it: two transactions can begin in the same microsecond, and one transaction can stay open until the
   load is known. A run that was inserted under a savepoint has another transaction number and is refused as well. */
CREATE OR REPLACE FUNCTION check_new_vintages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.forecast_runs r
        WHERE r.id IN (SELECT a.run_id FROM added a)
          AND (r.created_at <> CURRENT_TIMESTAMP OR r.xmin <> pg_current_xact_id()::xid)) THEN
        RAISE EXCEPTION 'INSERT on % is refused: a run and its vintages are inserted in one transaction', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF clock_timestamp() - CURRENT_TIMESTAMP > TG_ARGV[0]::interval THEN
        RAISE EXCEPTION 'INSERT on % is refused: the transaction began more than % ago', TG_TABLE_NAME, TG_ARGV[0]
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION check_new_vintages() IS
    'Refuses vintages of a run of another transaction, and of a transaction that is older than the limit in the argument';
