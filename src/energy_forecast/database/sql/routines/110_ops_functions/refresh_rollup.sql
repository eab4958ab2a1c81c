/* The hours are recomputed from the facts, not incremented, so the order of commits does not matter: a row of
   ops.changed_consumption is visible exactly when the facts of its transaction are, and only visible rows are deleted. The
   lock allows one fold at a time, and the next statement sees everything that an earlier fold wrote. Readers and writers
   do not wait. */
CREATE OR REPLACE FUNCTION ops.refresh_rollup() RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
DECLARE
    changed_hours bigint;
BEGIN
    LOCK TABLE public.hourly_consumption_rollup IN SHARE ROW EXCLUSIVE MODE;
    WITH removed AS (
        DELETE FROM ops.changed_consumption RETURNING city_id, first_hour, last_hour
    ), spans AS (
        SELECT t.city_id, min(t.first_hour) AS first_hour, max(t.last_hour) AS last_hour FROM removed t GROUP BY t.city_id
    ), truth AS (
        SELECT x.city_id, h.hour, h.total_consumption, h.peak_demand, h.minutes_known, h.off_hour_values
        FROM spans x CROSS JOIN LATERAL
            public.consumption_from_values(x.city_id, x.first_hour, x.last_hour + interval '1 hour', 0) h
    ), gone AS (
        DELETE FROM public.hourly_consumption_rollup r USING spans x
        WHERE r.city_id = x.city_id AND r.hour >= x.first_hour AND r.hour <= x.last_hour
          AND NOT EXISTS (SELECT FROM truth t WHERE t.city_id = r.city_id AND t.hour = r.hour)
        RETURNING 1
    ), written AS (
        INSERT INTO public.hourly_consumption_rollup AS r
            (city_id, hour, total_consumption, peak_demand, covered_minutes, off_hour_values)
        SELECT t.city_id, t.hour, t.total_consumption, t.peak_demand, t.minutes_known, t.off_hour_values FROM truth t
        ORDER BY t.city_id, t.hour
        ON CONFLICT (city_id, hour) DO UPDATE SET
            total_consumption = excluded.total_consumption, peak_demand = excluded.peak_demand,
            covered_minutes = excluded.covered_minutes, off_hour_values = excluded.off_hour_values
        WHERE (r.total_consumption, r.peak_demand, r.covered_minutes, r.off_hour_values) IS DISTINCT FROM
            (excluded.total_consumption, excluded.peak_demand, excluded.covered_minutes, excluded.off_hour_values)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM written) INTO changed_hours;
    RETURN changed_hours;
END $$;
COMMENT ON FUNCTION ops.refresh_rollup() IS
    'Updates hourly_consumption_rollup for the hours in ops.changed_consumption; returns the number of hours changed';
