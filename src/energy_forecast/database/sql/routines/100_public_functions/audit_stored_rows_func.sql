/* AFTER INSERT into ops.fact_baselines of a controlled table: an entry for each present row. From then on the last entry
   of a row equals the stored row, which `doctor audit` compares.
   Arguments: the table, the recorded columns, the condition for audited rows. */
CREATE OR REPLACE FUNCTION audit_stored_rows_func() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET datestyle = 'ISO'
    SET intervalstyle = 'postgres'
    SET bytea_output = 'hex'
    SET extra_float_digits = 1
    AS $$
BEGIN
    EXECUTE format($query$
        INSERT INTO public.audit_log (table_name, action, new_data, user_name, city_ids)
        SELECT %L, 'INSERT', e.facts || '{"baseline": true}', public.acting_role(),
               array_remove(ARRAY[(e.facts ->> %L)::uuid], NULL)
        FROM (SELECT to_jsonb(r) AS facts FROM (SELECT %s FROM %s c WHERE %s) r) e $query$,
        to_jsonb(NEW) ->> 'table_name', CASE TG_ARGV[0] WHEN 'public.cities' THEN 'id' ELSE 'city_id' END,
        TG_ARGV[1], TG_ARGV[0], TG_ARGV[2]);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION audit_stored_rows_func() IS 'Writes each row of a controlled table into audit_log, once';
