/* For BEFORE triggers that have found what must not be; the argument says why. Holds for the owner and for superusers
   too, as long as nobody disables the trigger, which `doctor audit` notices. */
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
COMMENT ON FUNCTION refuse() IS 'Refuses a statement or a row, with the reason given by the trigger';
