/* The guide's procedure. Each month is a transaction of its own, so that no lock lasts; a procedure may commit only
   as its caller, with no setting of its own, and outside of a transaction block. What it does is done by functions of
   the owner. `maintain retention` does the same, and records the run. */
CREATE OR REPLACE PROCEDURE cleanup_old_data()
    LANGUAGE plpgsql
    AS $$
DECLARE
    due record;
    got record;
BEGIN
    FOR due IN SELECT * FROM ops.retention_due() LOOP
        got := ops.apply_retention(due.table_name, due.partition_name, due.range_start, due.range_end);
        COMMIT;
        IF got.outcome OPERATOR(pg_catalog.=) 'busy' THEN
            RAISE WARNING '% is in use and stays for now (backends %)',
                coalesce(due.partition_name, due.table_name), got.detail;
        END IF;
    END LOOP;
END $$;
COMMENT ON PROCEDURE cleanup_old_data() IS
    'Takes away what the retention policies no longer keep, month by month; ops.dropped_data tells what went';
