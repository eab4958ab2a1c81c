/* The bounds have the offset +00, because plain dates mean midnight in the session's zone and leave gaps between months.
   Row-level security is enabled last: if forced earlier, it would hide the rows from the foreign-key check of ATTACH. */
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
    -- The partition has no policy of its own: roles bound by policies can only read the parent
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
END $$;
COMMENT ON FUNCTION attach_month_table(text, text, timestamptz) IS
    'Attaches the table of a UTC month to its parent as a partition, with its guard trigger and row-level security';
