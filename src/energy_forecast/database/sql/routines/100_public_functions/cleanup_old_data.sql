/* Delete the months that the retention policies no longer keep. Each month is a separate transaction, so that locks are short. A procedure may commit
   only with the rights of its caller, without settings of its own, and outside of a transaction block; functions of the
   owner do the work. `maintain retention` does the same and records the run. */
CREATE OR REPLACE PROCEDURE cleanup_old_data()
    LANGUAGE plpgsql
    AS $$
DECLARE
    due record;
    removal record;
BEGIN
    FOR due IN SELECT * FROM ops.retention_due() LOOP
        removal := ops.apply_retention(due.table_name, due.partition_name, due.range_start, due.range_end);
        COMMIT;
        IF removal.outcome OPERATOR(pg_catalog.=) 'busy' THEN
            RAISE WARNING '% is in use and stays for now (backends %)',
                coalesce(due.partition_name, due.table_name), removal.detail;
        END IF;
    END LOOP;
END $$;
COMMENT ON PROCEDURE cleanup_old_data() IS
    'Removes the data that the retention policies no longer keep, month by month; ops.dropped_data records the removals';
