/* For BEFORE triggers on forbidden changes; the argument is the reason. It also applies to the owner and superusers, unless
   the trigger is disabled, which `doctor audit` detects. */
CREATE OR REPLACE FUNCTION reject_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
COMMENT ON FUNCTION reject_change() IS 'Rejects a statement or a row, with the reason given by the trigger';
