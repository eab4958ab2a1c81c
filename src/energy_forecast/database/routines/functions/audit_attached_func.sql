/* AFTER the months that a load has filled beside their table were named in ops.attached_months: an entry a month, as
   audit_batch_func() writes one a statement. All of them in one query, which workers share, and each block by itself: its
   rows then come in order from the key, and are not sorted, which was a quarter of the cost.
   Arguments: the table, and those of audit_batch_func(). */
CREATE OR REPLACE FUNCTION audit_attached_func() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET datestyle = 'ISO'
    SET work_mem = '64MB'
    AS $$
DECLARE
    wanted text := (
        SELECT string_agg(format('SELECT %L::text AS name, q.* FROM (%s) q', a.partition_name, public.audit_batch_query(
                   blocks.queries)), ' UNION ALL ')
        FROM attached a, to_timestamp(right(a.partition_name, 7), 'YYYY"m"MM') AS month, LATERAL (
            SELECT string_agg(public.audit_block_query(
                       format('%1$s c WHERE c.%2$I >= %3$L AND c.%2$I < %4$L', ops.loading_table(a.partition_name), TG_ARGV[1],
                              start, start + TG_ARGV[2]::interval),
                       format('%L::timestamptz', start), TG_ARGV[3], TG_ARGV[4]), ' UNION ALL ') AS queries
            FROM generate_series(date_bin(TG_ARGV[2]::interval, month, '2000-01-01 00:00:00+00'),
                                 month + interval '1 month' - interval '1 us', TG_ARGV[2]::interval) AS start) AS blocks
        WHERE a.table_name = TG_ARGV[0]);
    months jsonb;
BEGIN
    IF wanted IS NULL THEN
        RETURN NULL;  -- Months of another table
    END IF;
    -- Not a loop over the query: a cursor has no workers
    EXECUTE format('SELECT jsonb_agg(to_jsonb(m)) FROM (%s) m', wanted) INTO months;
    IF (SELECT bool_or(NOT (m ->> 'honest')::boolean OR m -> 'summary' = 'null') FROM jsonb_array_elements(months) m) THEN
        RAISE EXCEPTION 'A month of % has no rows, or rows that claim another time of recording', TG_ARGV[0]
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO public.audit_log (table_name, action, new_data, user_name, city_ids)
    SELECT TG_ARGV[0], 'INSERT', m -> 'summary', public.acting_role(),
           ARRAY(SELECT c::uuid FROM jsonb_array_elements_text(m -> 'cities') c)
    FROM jsonb_array_elements(months) m ORDER BY m ->> 'name';
    RETURN NULL;
END $$;
COMMENT ON FUNCTION audit_attached_func() IS
    'Writes months that were filled beside their table into audit_log, and refuses rows with a forged created_at';
