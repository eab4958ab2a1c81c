-- Rejects the months that ops.months_loaded_before() excludes
CREATE OR REPLACE FUNCTION ops.begin_month(parent text, month timestamptz) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    name text := parent || to_char(month, '"_y"YYYY"m"MM') || '_' || pg_current_xact_id()::text;
    columns text;
BEGIN
    IF parent NOT IN ('energy_consumption', 'weather_data') OR month <> date_trunc('month', month)
       OR (month >= '1970-01-01 00:00:00+00' AND month + interval '1 month' <= ops.months_loaded_before(parent)) IS NOT TRUE THEN
        RAISE EXCEPTION 'The month % of % cannot be filled before it is attached', month, parent USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM public.make_month_table(parent, 'ops', name);
    -- It must be attached at commit
    INSERT INTO ops.begun_months (partition_name) VALUES (parent || to_char(month, '"_y"YYYY"m"MM'));
    -- The columns that the loader may insert into the parent; so the database sets created_at here too
    SELECT string_agg(quote_ident(a.attname), ', ') INTO columns FROM pg_attribute a
    WHERE a.attrelid = format('public.%I', parent)::regclass AND a.attnum > 0
      AND has_column_privilege('energy_forecast_ingest', a.attrelid, a.attnum, 'INSERT');
    EXECUTE format('GRANT INSERT (%s) ON ops.%I TO energy_forecast_ingest', columns, name);
    RETURN name;
END $$;
COMMENT ON FUNCTION ops.begin_month(text, timestamptz) IS
    'Creates a table for the rows of a new month and returns its name in ops; ops.attach_months() attaches it as a partition';
