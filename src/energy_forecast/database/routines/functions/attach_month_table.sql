/* The bounds carry +00, since bare dates mean midnight in the session's zone and leave holes between months. Row-level
   security comes last: forced, it would hide the rows from the check of the key to cities that ATTACH makes, and any row
   would pass. */
CREATE OR REPLACE FUNCTION attach_month_table(parent text, name text, month timestamptz) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
BEGIN
    PERFORM public.guard_partition(format('public.%I', name)::regclass);
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
        parent, name, to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
        to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
    -- Without a policy of its own: who is bound reads the parent, or nothing
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
END $$;
COMMENT ON FUNCTION attach_month_table(text, text, timestamptz) IS
    'Makes the table of a UTC month a partition of its parent, guarded and with row-level security';
