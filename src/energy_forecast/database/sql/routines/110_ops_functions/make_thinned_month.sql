/* Writes the rows that stay to a new table, because a DELETE would return no disk space and is refused by the guards of
   append-only tables. Everything that ATTACH would otherwise do under its lock is done here: the keys, the foreign keys and
   the check of the bounds. The constraint "thinned" remains: it refuses a later load of a longer lead time, with which a read
   as of a time could find an older issue than it found before. */
CREATE OR REPLACE FUNCTION ops.make_thinned_month(
    parent text, key_column text, range_start timestamptz, range_end timestamptz, kept_lead_hours integer, name text)
    RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    SET work_mem = '64MB'
    AS $$
DECLARE
    constraint_text text;
BEGIN
    PERFORM public.make_month_table(parent, 'public', name);
    EXECUTE format('ALTER TABLE public.%1$I ADD CONSTRAINT thinned CHECK (timestamp - issued_at < %2$L::interval),'
        ' ADD CONSTRAINT in_month CHECK (%3$I >= %4$L AND %3$I < %5$L)',
        name, kept_lead_hours || ' hours', key_column, range_start, range_end);
    EXECUTE format('INSERT INTO public.%1$I SELECT t.* FROM public.%2$I t'
        ' WHERE t.%3$I >= %4$L AND t.%3$I < %5$L AND t.timestamp - t.issued_at < make_interval(hours => %6$s)',
        name, parent, key_column, range_start, range_end, kept_lead_hours);
    FOR constraint_text IN
        SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
        WHERE k.conrelid = format('public.%I', parent)::regclass AND k.contype IN ('p', 'f') ORDER BY k.contype DESC
    LOOP
        EXECUTE format('ALTER TABLE public.%I ADD %s', name, constraint_text);
    END LOOP;
END $$;
COMMENT ON FUNCTION ops.make_thinned_month(text, text, timestamptz, timestamptz, integer, text) IS
    'Creates a table with the rows of a month that have a shorter lead time, ready to replace the partition';
