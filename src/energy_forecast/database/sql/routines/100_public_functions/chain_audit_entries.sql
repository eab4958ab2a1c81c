/* A deferred trigger at commit, so that a long load holds the lock only during the commit, and loads do not wait for each
   other. The lock is on the first row of the chain, which only the owner can lock; the row never changes, so it does not
   bloat. The first entry of a transaction chains all of its entries.

   A READ COMMITTED transaction sees the end of the chain after taking the lock. A REPEATABLE READ transaction may not; then
   the primary key of the chain rejects the fork, and the transaction must be repeated. */
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
          -- Earlier ones are chained, because this trigger fires in the order of the entries
          AND a.number >= NEW.number
        ORDER BY a.number
    LOOP
        place := place + 1;
        -- The verification has its own copy of this text, because it must not trust this one
        next_hash := sha256(last_hash || convert_to(jsonb_build_array(
            place, entry.id, entry.number, entry.table_name, entry.action, entry.old_data, entry.new_data, entry.user_name,
            entry.session_user_name, entry.transaction_id::text, entry.city_ids,
            (extract(epoch FROM entry.timestamp) * 1000000)::bigint)::text, 'UTF8'));
        INSERT INTO ops.audit_chain (sequence, audit_id, previous_hash, hash)
        VALUES (place, entry.id, last_hash, next_hash);
        last_hash := next_hash;
    END LOOP;
    RETURN NULL;
EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'Another transaction was audited since this one began; repeat it'
        USING ERRCODE = 'serialization_failure';
END $$;
COMMENT ON FUNCTION chain_audit_entries() IS 'Appends the entries of a transaction to the chain at commit';
