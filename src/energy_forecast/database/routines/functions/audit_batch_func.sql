/* AFTER a statement that changed bulk facts: one entry with counts, range, cities, and a digest of the rows; rows with a
   forged moment of recording are refused. Arguments: the column of time that makes blocks, the length of one, the columns of
   the key after the city, the columns that are digested. */
CREATE OR REPLACE FUNCTION audit_batch_func() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET work_mem = '64MB'
    AS $$
DECLARE
    found record;
BEGIN
    EXECUTE public.audit_batch_query(public.audit_block_query(
        'changed c', format('date_bin(%L, c.%I, ''2000-01-01 00:00:00+00'')', TG_ARGV[1], TG_ARGV[0]), TG_ARGV[2], TG_ARGV[3]))
        INTO found;
    IF found.summary IS NULL THEN
        RETURN NULL;  -- The statement touched no row
    END IF;
    IF TG_OP <> 'DELETE' AND NOT found.honest THEN
        RAISE EXCEPTION 'created_at of % is set by the database, and by nobody else', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO public.audit_log (table_name, action, old_data, new_data, user_name, city_ids)
    VALUES (TG_TABLE_NAME, TG_OP, CASE TG_OP WHEN 'DELETE' THEN found.summary END,
            CASE WHEN TG_OP <> 'DELETE' THEN found.summary END, public.acting_role(), found.cities);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION audit_batch_func() IS
    'Writes a statement that changed bulk facts into audit_log, and refuses rows with a forged created_at';
