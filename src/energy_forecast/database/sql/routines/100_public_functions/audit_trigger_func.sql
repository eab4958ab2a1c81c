/* AFTER a row of a controlled table has changed. Arguments: columns whose values are not recorded, such as the bytes of an
   artifact, which has a digest column. SECURITY DEFINER, so that no role needs a privilege on audit_log; the acting role
   is therefore not current_user. */
CREATE OR REPLACE FUNCTION audit_trigger_func() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET datestyle = 'ISO'
    SET intervalstyle = 'postgres'
    SET bytea_output = 'hex'
    SET extra_float_digits = 1
    AS $$
DECLARE
    old_row jsonb;
    new_row jsonb;
    city text;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        old_row := to_jsonb(OLD) - coalesce(TG_ARGV::text[], '{}');
    END IF;
    IF TG_OP <> 'DELETE' THEN
        new_row := to_jsonb(NEW) - coalesce(TG_ARGV::text[], '{}');
    END IF;
    city := coalesce(new_row, old_row) ->> CASE TG_TABLE_NAME WHEN 'cities' THEN 'id' ELSE 'city_id' END;
    INSERT INTO public.audit_log (table_name, action, old_data, new_data, user_name, city_ids)
    VALUES (
        CASE TG_TABLE_SCHEMA WHEN 'public' THEN TG_TABLE_NAME ELSE TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME END,
        TG_OP, old_row, new_row, public.acting_role(), array_remove(ARRAY[city::uuid], NULL));
    RETURN NULL;
END $$;
COMMENT ON FUNCTION audit_trigger_func() IS 'Writes a changed row of a controlled table into audit_log';
