/* AFTER a statement that changed bulk facts: one entry with counts, range, cities and checksums of its rows, including the
   rows that it replaced or deleted. Rows with a forged created_at are rejected, unless the owner has disabled the trigger
   append_only to restore rows from a copy: this is a schema change, which is audited. Arguments: those of audit_sums_query()
   after the first. */
CREATE OR REPLACE FUNCTION audit_batch_func() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET work_mem = '64MB'
    AS $$
DECLARE
    created_now boolean;
    cities uuid[];
    removed jsonb;
    added jsonb;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        EXECUTE public.audit_sums_query('replaced c', TG_ARGV[0], TG_ARGV[1]) INTO created_now, cities, removed;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        EXECUTE public.audit_sums_query('changed c', TG_ARGV[0], TG_ARGV[1]) INTO created_now, cities, added;
        IF NOT created_now THEN
            IF EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = TG_RELID AND t.tgname = 'append_only' AND t.tgenabled = 'A') THEN
                RAISE EXCEPTION 'created_at of % can only be set by the database', TG_TABLE_NAME
                    USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            added := added || '{"restored": true}';
        END IF;
    END IF;
    IF cities IS NULL THEN
        RETURN NULL;  -- The statement changed no row
    END IF;
    INSERT INTO public.audit_log (table_name, action, old_data, new_data, user_name, city_ids)
    VALUES (TG_TABLE_NAME, TG_OP, removed, added, public.acting_role(), cities);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION audit_batch_func() IS
    'Writes a statement that changed bulk facts into audit_log, and rejects rows with a forged created_at';
