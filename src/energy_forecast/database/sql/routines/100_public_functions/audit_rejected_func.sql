/* AFTER a statement that deleted rejected rows: one entry with counts and range. The log does not store the contents of
   the rows, because retention deletes them to free space; ops.dropped_data has their digest. */
CREATE OR REPLACE FUNCTION audit_rejected_func() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    INSERT INTO public.audit_log (table_name, action, old_data, user_name)
    SELECT 'ops.rejected_rows', TG_OP,
           jsonb_build_object('rows', count(*), 'loads', count(DISTINCT c.batch_id),
               'first', to_char(min(c.created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
               'last', to_char(max(c.created_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')),
           public.acting_role()
    FROM changed c
    HAVING count(*) > 0;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION audit_rejected_func() IS 'Writes a deletion of rejected rows into audit_log, without their contents';
