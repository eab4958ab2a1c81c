/* At commit: a deferred trigger, so that a long load holds the lock only while it commits, and no two wait for each
   other. The lock is on the chain's first row, which nobody but the owner can take; the row never changes, so nothing
   bloats. The first of a transaction's entries chains all of them.

   A transaction of READ COMMITTED sees the end of the chain once it has the lock. One of REPEATABLE READ may not; then
   the key of the chain refuses the fork, and the transaction has to be repeated. */
CREATE OR REPLACE FUNCTION chain_audit_entries() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    place bigint;
    last_hash bytea;
    next_hash bytea;
    entry public.audit_log;
BEGIN
    IF EXISTS (SELECT FROM ops.audit_chain c WHERE c.audit_id = NEW.id) THEN
        RETURN NULL;
    END IF;
    PERFORM FROM ops.audit_chain c WHERE c.sequence = 0 FOR UPDATE;
    SELECT c.sequence, c.hash INTO STRICT place, last_hash FROM ops.audit_chain c ORDER BY c.sequence DESC LIMIT 1;
    FOR entry IN
        SELECT a.* FROM public.audit_log a
        WHERE a.transaction_id = pg_current_xact_id()
          AND NOT EXISTS (SELECT FROM ops.audit_chain c WHERE c.audit_id = a.id)
        ORDER BY a.number
    LOOP
        place := place + 1;
        next_hash := sha256(last_hash || convert_to(public.audit_entry_text(place, entry), 'UTF8'));
        INSERT INTO ops.audit_chain (sequence, audit_id, previous_hash, hash)
        VALUES (place, entry.id, last_hash, next_hash);
        last_hash := next_hash;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'Another transaction was audited since this one began; repeat it'
        USING ERRCODE = 'serialization_failure';
END $$;
COMMENT ON FUNCTION chain_audit_entries() IS 'Binds the entries of a transaction to the end of the chain when it commits';
