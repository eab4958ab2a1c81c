/* The refreshed view is correct as of this transaction, so a comparison with it needs no second read of the facts. The lock
   is held from the start, so no other session folds meanwhile, and hours changed meanwhile have a row in
   ops.changed_consumption: all other differences are errors and are recomputed. */
CREATE OR REPLACE FUNCTION ops.refresh_hours(OUT changed bigint, OUT repaired bigint, OUT expired bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
BEGIN
    changed := ops.refresh_rollup();
    CALL public.refresh_materialized_views();
    WITH differing AS (
        SELECT coalesce(v.city_id, r.city_id) AS city_id, coalesce(v.hour, r.hour) AS hour
        FROM public.hourly_consumption v
        FULL JOIN (
            SELECT * FROM public.hourly_consumption_rollup k
            WHERE k.hour >= date_trunc('hour', now() - interval '720 hours', 'UTC')) r
            ON r.city_id = v.city_id AND r.hour = v.hour
        WHERE (v.total_consumption, v.peak_demand, v.covered_minutes)
            IS DISTINCT FROM (r.total_consumption, r.peak_demand, r.covered_minutes)
    )
    INSERT INTO ops.changed_consumption (city_id, first_hour, last_hour)
    SELECT d.city_id, d.hour, d.hour FROM differing d
    WHERE NOT EXISTS (SELECT FROM ops.changed_consumption x
                      WHERE x.city_id = d.city_id AND d.hour BETWEEN x.first_hour AND x.last_hour);
    GET DIAGNOSTICS repaired = ROW_COUNT;
    IF repaired > 0 THEN
        PERFORM ops.refresh_rollup();
    END IF;
    DELETE FROM public.hourly_consumption_rollup WHERE hour < date_trunc('hour', now() - interval '744 hours', 'UTC');
    GET DIAGNOSTICS expired = ROW_COUNT;
END $$;
COMMENT ON FUNCTION ops.refresh_hours() IS
    'Refreshes hourly_consumption and its roll-up: numbers of hours that had changed, hours repaired because they were wrong without a recorded change, and hours removed because of their age';
