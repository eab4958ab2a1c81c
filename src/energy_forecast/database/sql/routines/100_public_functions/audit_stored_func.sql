/* AFTER INSERT into ops.fact_baselines: an entry with the checksums of all rows of a table, which had none in the log.
   AFTER INSERT into ops.dropped_data of a partition: an entry that subtracts its rows, because no statement on the table
   drops a partition, and adds the rows of its replacement if the month was thinned. The row is inserted while the partition
   still exists; ops.drop_month() then checks under its locks that no row has changed.
   Arguments: the table, and those of audit_sums_query() after the first. */
CREATE OR REPLACE FUNCTION audit_stored_func() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET datestyle = 'ISO'
    SET work_mem = '64MB'
    AS $$
DECLARE
    source text := format('public.%I c', TG_ARGV[0]);
    is_drop boolean := TG_TABLE_NAME = 'dropped_data';
    is_thinned boolean := is_drop AND to_jsonb(NEW) ->> 'kept_lead_hours' IS NOT NULL;
    facts record;
    kept jsonb;
BEGIN
    IF is_drop THEN
        source := CASE
            WHEN (SELECT p.relispartition FROM pg_class p
                  WHERE p.oid = to_regclass(format('public.%I', to_jsonb(NEW) ->> 'partition_name')))
            THEN format('public.%I c WHERE c.%I >= %L AND c.%2$I < %4$L', TG_ARGV[0],
                        -- Weather forecasts have a month by their target, and blocks by their issue
                        (SELECT p.key_column FROM ops.partitions() p WHERE p.partition_name = to_jsonb(NEW) ->> 'partition_name'),
                        to_jsonb(NEW) ->> 'range_start', to_jsonb(NEW) ->> 'range_end')
            -- It was detached by hand
            ELSE format('public.%I c', to_jsonb(NEW) ->> 'partition_name') END;
    END IF;
    EXECUTE public.audit_sums_query(source, TG_ARGV[1], TG_ARGV[2]) INTO facts;
    IF is_thinned THEN
        EXECUTE format('SELECT s.summary FROM (%s) s', public.audit_sums_query(
            format('public.%I c', to_jsonb(NEW) ->> 'partition_name' || '_thinned'), TG_ARGV[1], TG_ARGV[2])) INTO kept;
    END IF;
    IF facts.summary IS NOT NULL THEN
        INSERT INTO public.audit_log (table_name, action, old_data, new_data, user_name, city_ids)
        VALUES (TG_ARGV[0], CASE WHEN kept IS NOT NULL THEN 'UPDATE' WHEN is_drop THEN 'DELETE' ELSE 'INSERT' END,
                CASE WHEN is_drop THEN facts.summary || jsonb_build_object('partition', to_jsonb(NEW) -> 'partition_name') END,
                CASE WHEN is_drop THEN kept ELSE facts.summary || '{"baseline": true}' END, public.acting_role(), facts.cities);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION audit_stored_func() IS
    'Writes the checksums of all rows of a table, or of a dropped or thinned partition, into audit_log';
