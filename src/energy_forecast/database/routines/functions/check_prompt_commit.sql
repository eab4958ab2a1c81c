/* At commit, by a deferred trigger: created_at is when the transaction began, so a transaction that stays open could choose
   after the event which rows it keeps. SET CONSTRAINTS can run the trigger before the commit. Then the transaction holds the
   lock under which the audit chain is closed, and no other change of the platform is committed until it ends: it cannot
   wait for the load, nor hold a second candidate ready. */
CREATE OR REPLACE FUNCTION check_prompt_commit() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    PERFORM FROM ops.audit_chain c WHERE c.sequence = 0 FOR UPDATE;
    IF clock_timestamp() - CURRENT_TIMESTAMP > TG_ARGV[0]::interval THEN
        RAISE EXCEPTION 'INSERT on % is refused: its transaction was open for more than %', TG_TABLE_NAME, TG_ARGV[0]
            USING ERRCODE = 'integrity_constraint_violation', HINT = 'Repeat it.';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION check_prompt_commit() IS
    'Refuses to commit a row whose transaction was open for longer than the limit in the argument';
