/* A deferred trigger at commit: created_at is the start of the transaction, so a transaction that stays open could decide
   after the event which rows to commit. SET CONSTRAINTS can run the trigger before the commit. The transaction then holds
   the lock of the audit chain, and no other change of the platform is committed until it ends: it cannot wait for the
   load, nor keep a second candidate open. */
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
    'Rejects the commit of a row whose transaction was open for longer than the limit in the argument';
