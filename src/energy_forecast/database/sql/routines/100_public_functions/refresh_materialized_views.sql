/* SECURITY DEFINER, because only the owner of a materialized view may refresh it. CONCURRENTLY does not block readers, but
   cannot fill a view that was restored without data. */
CREATE OR REPLACE PROCEDURE refresh_materialized_views()
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    began timestamptz := clock_timestamp();
BEGIN
    IF (SELECT relispopulated FROM pg_class WHERE oid = 'public.hourly_consumption'::regclass) THEN
        REFRESH MATERIALIZED VIEW CONCURRENTLY public.hourly_consumption;
    ELSE
        REFRESH MATERIALIZED VIEW public.hourly_consumption;
    END IF;
    INSERT INTO ops.view_refreshes (view_name, refreshed_at, data_until, row_count)
    SELECT 'hourly_consumption', began, max(hour) + interval '1 hour', count(*) FROM public.hourly_consumption;
END $$;
COMMENT ON PROCEDURE refresh_materialized_views() IS
    'Refreshes every materialized view without blocking readers, and records the time and the end of the data';
