/* Only months that have ended: the present month exists already. No months at all if the table has a trigger of another
   owner, because that trigger must see every row. */
CREATE OR REPLACE FUNCTION ops.months_loaded_before(parent text) RETURNS timestamptz
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE WHEN EXISTS (
        SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
        WHERE t.tgrelid = format('public.%I', parent)::regclass AND NOT t.tgisinternal AND t.tgtype & 4 <> 0
          AND t.tgenabled <> 'D' AND p.proowner <> 'energy_forecast_owner'::regrole)
    THEN '1970-01-01 00:00:00+00' ELSE date_trunc('month', now(), 'UTC') END
$$;
COMMENT ON FUNCTION ops.months_loaded_before(text) IS
    'Months of a table that end by this time may be filled before they are attached: those that have ended';
