/* AFTER INSERT into ops.attached_months of the months that a batch filled before attaching them: one entry per month, as
   audit_batch_func() writes one per statement. One query for all months, so that parallel workers share it.
   Arguments: the table, and those of audit_sums_query() after the first. */
CREATE OR REPLACE FUNCTION audit_attached_func() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET datestyle = 'ISO'
    SET work_mem = '64MB'
    AS $$
DECLARE
    sums_query text := (
        SELECT string_agg(format('SELECT %L::text AS name, q.* FROM (%s) q', a.partition_name, public.audit_sums_query(
                   format('%s c', ops.loading_table(a.partition_name)), TG_ARGV[1], TG_ARGV[2])), ' UNION ALL ')
        FROM attached a WHERE a.table_name = TG_ARGV[0]);
    months jsonb;
BEGIN
    IF sums_query IS NULL THEN
        RETURN NULL;  -- Months of another table
    END IF;
    -- Not a loop over the query, because a cursor has no parallel workers
    EXECUTE format('SELECT jsonb_agg(to_jsonb(m)) FROM (%s) m', sums_query) INTO months;
    IF (SELECT bool_or(NOT (m ->> 'created_now')::boolean OR m -> 'summary' = 'null') FROM jsonb_array_elements(months) m) THEN
        RAISE EXCEPTION 'A month of % has no rows, or rows with a forged created_at', TG_ARGV[0]
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO public.audit_log (table_name, action, new_data, user_name, city_ids)
    SELECT TG_ARGV[0], 'INSERT', m -> 'summary', public.acting_role(),
           ARRAY(SELECT c::uuid FROM jsonb_array_elements_text(m -> 'cities') c)
    FROM jsonb_array_elements(months) m ORDER BY m ->> 'name';
    RETURN NULL;
END $$;
COMMENT ON FUNCTION audit_attached_func() IS
    'Writes months that were filled before they were attached into audit_log, and rejects rows with a forged created_at';
